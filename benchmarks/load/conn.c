/* Sockets and the epoll loop: bytes in big chunks, nothing here knows what they mean. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (1u << 20)

struct target target;
struct handlers handlers;
uint64_t opened, refused, cut;
char first_trouble[512];

static int epoll_fd;
static unsigned char *chunk;
static size_t chunk_cap;

void loop_init(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    chunk_cap = CHUNK;
    chunk = malloc(chunk_cap);
}

void note_trouble(const char *what, const unsigned char *bytes, size_t len)
{
    if (first_trouble[0])
        return;
    int n = snprintf(first_trouble, sizeof first_trouble, "%s: %.*s", what, (int)(len < 300 ? len : 300), bytes);
    for (int i = 0; i < n && i < (int)sizeof first_trouble; i++)
        if (first_trouble[i] < ' ' || first_trouble[i] == '"' || first_trouble[i] == '\\')
            first_trouble[i] = '\'';
}

void room_uuid(char out[37], uint32_t number)
{
    snprintf(out, 37, "00000000-0000-4000-8000-%012x", number + 1);
}

static void watch(struct conn *c, int op, bool reading, bool writing)
{
    struct epoll_event e = {.events = (reading ? EPOLLIN : 0) | (writing ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, op, c->fd, &e);
}

void conn_set_reading(struct conn *c, bool reading)
{
    watch(c, EPOLL_CTL_MOD, reading, c->wants_write);
}

static void expand_path(char *out, size_t cap, const struct conn *c, const char *suffix, const char *room)
{
    size_t n = 0;
    for (const char *p = target.path; *p && n + 64 < cap; p++) {
        if (p[0] == '%' && p[1] == 'r')
            n += (size_t)snprintf(out + n, cap - n, "%s", room), p++;
        else if (p[0] == '%' && p[1] == 'c')
            n += (size_t)snprintf(out + n, cap - n, "%05u", c->index), p++;
        else
            out[n++] = *p;
    }
    snprintf(out + n, cap - n, "%s", suffix ? suffix : "");
}

void conn_connect(struct conn *c, const char *path_suffix)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target.port)};
    inet_pton(AF_INET, target.host, &addr.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("socket");
        exit(1);
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->is_slow) {
        int small = 4096;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    if (connect(c->fd, (struct sockaddr *)&addr, sizeof addr) < 0 && errno != EINPROGRESS) {
        perror("connect");
        exit(1);
    }
    c->state = target.dialect == DIALECT_HTTP ? CONN_OPEN : CONN_HANDSHAKE;
    c->tail_len = c->out_len = 0;
    c->close_code = 0;
    c->wants_write = false;
    watch(c, EPOLL_CTL_ADD, true, false);
    if (target.dialect == DIALECT_HTTP)
        return;
    char room[37], path[512];
    room_uuid(room, c->room_number);
    expand_path(path, sizeof path, c, path_suffix, room);
    ws_request(c, path);
}

void conn_cut(struct conn *c)
{
    if (c->fd < 0)
        return;
    struct linger abrupt = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof abrupt);
    close(c->fd);
    c->fd = -1;
    c->state = CONN_CLOSED;
}

static void lost(struct conn *c)
{
    bool was_open = c->state == CONN_OPEN;
    conn_cut(c);
    if (was_open)
        cut++;
    else
        refused++;
    if (handlers.closed)
        handlers.closed(c);
}

static void *grown(void *at, size_t *cap, size_t need)
{
    if (need <= *cap)
        return at;
    *cap = need * 2;
    at = realloc(at, *cap);
    if (!at)
        abort();
    return at;
}

void conn_queue(struct conn *c, const void *bytes, size_t len)
{
    c->out = grown(c->out, &c->out_cap, c->out_len + len);
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

void conn_flush(struct conn *c)
{
    if (c->fd < 0 || c->out_len == 0)
        return;
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n > 0) {
        memmove(c->out, c->out + n, c->out_len - (size_t)n);
        c->out_len -= (size_t)n;
    }
    bool wants = c->out_len > 0;
    if (wants != c->wants_write) {
        c->wants_write = wants;
        watch(c, EPOLL_CTL_MOD, true, wants);
    }
}

static size_t consume(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now)
{
    if (target.dialect == DIALECT_HTTP)
        return handlers.raw(c, bytes, len, now);
    size_t used = 0;
    if (c->state == CONN_HANDSHAKE) {
        used = ws_answer(c, bytes, len, now);
        if (used == 0)
            return 0;
    }
    return c->fd < 0 ? len : used + ws_frames(c, bytes + used, len - used, now);
}

/* For a server that writes twice to a sender without TCP_NODELAY: its second write waits for this acknowledgement. */
static void acknowledge_at_once(struct conn *c)
{
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

static void take(struct conn *c, size_t limit)
{
    if (c->tail_len + limit > chunk_cap)
        chunk = grown(chunk, &chunk_cap, c->tail_len + limit);
    memcpy(chunk, c->tail, c->tail_len);
    ssize_t n = recv(c->fd, chunk + c->tail_len, limit, 0);
    if (target.quick_ack)
        acknowledge_at_once(c);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        lost(c);
        return;
    }
    size_t len = c->tail_len + (size_t)n;
    size_t used = consume(c, chunk, len, now_ns());
    if (c->fd < 0)
        return;
    c->tail_len = len - used;
    c->tail = grown(c->tail, &c->tail_cap, c->tail_len);
    memcpy(c->tail, chunk + used, c->tail_len);
}

void conn_read_some(struct conn *c, size_t limit)
{
    if (c->fd >= 0)
        take(c, limit);
}

void loop_step(uint64_t wait_ns)
{
    struct epoll_event ready[512];
    struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
    int n = epoll_pwait2(epoll_fd, ready, 512, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct conn *c = ready[i].data.ptr;
        if (c->fd >= 0 && ready[i].events & EPOLLOUT)
            conn_flush(c);
        if (c->fd >= 0 && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            take(c, CHUNK / 2);
    }
}

bool connect_all(struct conn *conns, uint32_t count, uint32_t at_once, double seconds)
{
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9);
    uint64_t wanted = opened + count;
    uint64_t begun = opened;
    while (opened < wanted && refused == 0 && now_ns() < deadline) {
        for (; begun < wanted && begun - opened < at_once; begun++)
            conn_connect(&conns[count - (wanted - begun)], NULL);
        loop_step(20000000);
    }
    return opened == wanted;
}
