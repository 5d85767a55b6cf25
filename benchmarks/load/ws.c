/* WebSocket as a client speaks it (RFC 6455), and Socket.IO's text packets inside it (Engine.IO 4, Socket.IO 5).
 *
 * Frames are walked, not trusted to mean one event each: data goes to the mode's handler, which counts markers in it;
 * pings are answered, a close is noted.
 */
#include "load.h"

#include <string.h>

/* Masks need not be secret here; they only have to be there and not be zero, so that every server does its work. */
static const unsigned char mask[4] = {0x5a, 0xc3, 0x19, 0xe7};

void ws_request(struct conn *c, const char *path)
{
    char head[1024];
    const char *subprotocol = target.dialect == DIALECT_COLLABD ? "Sec-WebSocket-Protocol: collabd.v1\r\n" : "";
    int len = snprintf(head, sizeof head,
                       "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                       path, target.host, target.port, subprotocol);
    conn_queue(c, head, (size_t)len);
    conn_flush(c);
}

static void queue_frame(struct conn *c, unsigned char opcode, const unsigned char *payload, size_t len)
{
    unsigned char head[14] = {(unsigned char)(0x80 | opcode)};
    size_t n = 2;
    if (len < 126) {
        head[1] = (unsigned char)(0x80 | len);
    } else if (len < 65536) {
        head[1] = 0x80 | 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        n = 4;
    } else {
        head[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    memcpy(head + n, mask, 4);
    conn_queue(c, head, n + 4);
    conn_queue(c, payload, len);
    unsigned char *masked = c->out + c->out_len - len;
    for (size_t i = 0; i < len; i++)
        masked[i] ^= mask[i & 3];
}

void ws_queue_text(struct conn *c, const void *payload, size_t len)
{
    queue_frame(c, 1, payload, len);
}

static void mark_open(struct conn *c, uint64_t now)
{
    c->state = CONN_OPEN;
    opened++;
    if (handlers.opened)
        handlers.opened(c, now);
}

size_t ws_answer(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now)
{
    const unsigned char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (len < 12 || memcmp(bytes + 9, "101", 3) != 0) {
        note_trouble("handshake refused", bytes, len);
        refused++;
        conn_cut(c);
        return len;
    }
    c->state = CONN_JOINING;
    if (target.dialect == DIALECT_PLAIN)
        mark_open(c, now);
    return (size_t)(end + 4 - bytes);
}

/* Engine.IO packets arrive as text: 0 open, 2 ping, 4 message; Socket.IO's own type follows the 4. */
static bool socketio_housekeeping(struct conn *c, const unsigned char *payload, size_t len, uint64_t now)
{
    if (len >= 1 && payload[0] == '0') {
        ws_queue_text(c, "40", 2);
    } else if (len == 1 && payload[0] == '2') {
        ws_queue_text(c, "3", 1);
    } else if (len >= 2 && payload[0] == '4' && payload[1] == '0') {
        mark_open(c, now);
    } else {
        return false;
    }
    conn_flush(c);
    return true;
}

static void on_text(struct conn *c, const unsigned char *payload, size_t len, uint64_t now)
{
    if (target.dialect == DIALECT_SOCKETIO && socketio_housekeeping(c, payload, len, now))
        return;
    bool is_welcome = target.dialect == DIALECT_COLLABD && c->state == CONN_JOINING;
    if (handlers.data)
        handlers.data(c, payload, len, now);
    if (is_welcome)
        mark_open(c, now);
}

static void on_control(struct conn *c, unsigned char opcode, const unsigned char *payload, size_t len)
{
    if (opcode == 9) {
        queue_frame(c, 10, payload, len);
        conn_flush(c);
    } else if (opcode == 8) {
        c->close_code = len >= 2 ? payload[0] << 8 | payload[1] : 1005;
        if (len > 2)
            note_trouble("closed by the server", payload + 2, len - 2);
    }
}

size_t ws_frames(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now)
{
    size_t at = 0;
    while (len - at >= 2 && c->fd >= 0) {
        uint64_t n = bytes[at + 1] & 127;
        size_t head = n == 126 ? 4 : n == 127 ? 10 : 2;
        if (len - at < head)
            break;
        if (n == 126) {
            n = (uint64_t)bytes[at + 2] << 8 | bytes[at + 3];
        } else if (n == 127) {
            n = 0;
            for (int i = 0; i < 8; i++)
                n = n << 8 | bytes[at + 2 + i];
        }
        if (len - at - head < n)
            break;
        unsigned char opcode = bytes[at] & 15;
        if (opcode < 8)
            on_text(c, bytes + at + head, n, now);
        else
            on_control(c, opcode, bytes + at + head, n);
        at += head + n;
    }
    return at;
}
