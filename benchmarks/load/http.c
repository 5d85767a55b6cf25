/* HTTP/1.1 GETs over kept-alive connections, one after the other on each: polls and replays. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

static struct conn *conns;
static struct histogram latency;
static uint64_t answers, not_ok, bytes_in;
static bool is_measuring;
static const char *path;
static uint64_t least_ns = UINT64_MAX;

static void ask(struct conn *c)
{
    char request[1024], client[16];
    snprintf(client, sizeof client, "%05u", c->index);
    const char *mark = strstr(path, "%c");
    int len = mark ? snprintf(request, sizeof request, "GET %.*s%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                              (int)(mark - path), path, client, mark + 2, target.port)
                   : snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", path, target.port);
    c->sent_at = now_ns();
    conn_queue(c, request, (size_t)len);
    conn_flush(c);
}

/* The length of the whole answer, 0 while it cannot be told. */
static size_t answer_length(const unsigned char *bytes, size_t len)
{
    const unsigned char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end + 4 - bytes);
    const unsigned char *field = memmem(bytes, head, "ontent-length: ", 15);
    if (!field)
        field = memmem(bytes, head, "ontent-Length: ", 15);
    if (!field) {
        note_trouble("no content-length", bytes, head);
        return head;
    }
    return head + strtoul((const char *)field + 15, NULL, 10);
}

static size_t on_bytes(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now)
{
    size_t whole = answer_length(bytes, len);
    if (whole == 0 || whole > len)
        return 0;
    if (memcmp(bytes + 9, "200", 3) != 0) {
        not_ok++;
        note_trouble("not 200", bytes, len);
    }
    if (is_measuring) {
        answers++;
        bytes_in += whole;
        histogram_add(&latency, now - c->sent_at);
        if (now - c->sent_at < least_ns)
            least_ns = now - c->sent_at;
    }
    ask(c);
    return whole;
}

static void run_for(double seconds)
{
    uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < until)
        loop_step(20000000);
}

int http_main(int argc, char **argv)
{
    uint32_t count = (uint32_t)option_number(argc, argv, "--connections", 8);
    path = target.path;
    target.dialect = DIALECT_HTTP;
    handlers = (struct handlers){.raw = on_bytes};
    conns = calloc(count, sizeof *conns);
    for (uint32_t i = 0; i < count; i++) {
        conns[i] = (struct conn){.fd = -1, .index = i};
        conn_connect(&conns[i], NULL);
    }
    run_for(0.1);
    for (uint32_t i = 0; i < count; i++)
        ask(&conns[i]);
    run_for(option_number(argc, argv, "--warmup", 0.3));
    printf("{\"phase\":\"start\"}\n");
    fflush(stdout);
    is_measuring = true;
    uint64_t begun = now_ns();
    run_for(option_number(argc, argv, "--seconds", 2));
    is_measuring = false;
    printf("{\"phase\":\"stop\",\"seconds\":%.6f,\"answers\":%llu,\"not_ok\":%llu,\"bytes\":%llu,\"cut\":%llu,"
           "\"least_us\":%.1f,\"trouble\":\"%s\",",
           (double)(now_ns() - begun) / 1e9, (unsigned long long)answers, (unsigned long long)not_ok,
           (unsigned long long)bytes_in, (unsigned long long)cut, answers ? (double)least_ns / 1000.0 : 0.0,
           first_trouble);
    histogram_print(&latency, "latency");
    printf("}\n");
    fflush(stdout);
    return 0;
}
