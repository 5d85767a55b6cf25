/* The load generator's shared words: options, histogram, connection, event loop.
 *
 * Law of this directory: one thread, one epoll loop, no allocation per message. The generator measures deliveries,
 * time and latency; CPU and memory of the server are the harness's business (benchmarks/measure.py). Every mode ends
 * by itself after a bounded time and prints JSON lines: {"phase":"start"}, {"phase":"stop",...}.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- time and histogram (histogram.c) ---- */

uint64_t now_ns(void);

/* Log-linear: 32 steps to each power of two of nanoseconds, so a figure read from it is at most 3 % too high. */
#define HISTOGRAM_STEPS 32
#define HISTOGRAM_CELLS (60 * HISTOGRAM_STEPS)
struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t cell[HISTOGRAM_CELLS];
};

void histogram_clear(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t ns);
/* The value that a share (0 to 1) of all entries does not exceed, in microseconds; 0 when empty. */
double histogram_quantile_us(const struct histogram *h, double share);
/* Writes "NAME_p50_us":…,"NAME_p99_us":…,"NAME_max_us":… without braces. */
void histogram_print(const struct histogram *h, const char *name);

/* ---- connections (conn.c) ---- */

enum conn_state {
    CONN_IDLE,      /* no socket */
    CONN_HANDSHAKE, /* request sent, answer not complete */
    CONN_JOINING,   /* upgraded, waiting for the application's own welcome */
    CONN_OPEN,
    CONN_CLOSED,
};

struct room;

struct conn {
    int fd;
    enum conn_state state;
    uint32_t index;
    uint32_t room_number;
    struct room *room;
    uint64_t marks;          /* deliveries seen on this connection */
    uint32_t inflight;       /* messages sent and not yet acknowledged (acks mode, HTTP) */
    uint32_t serial;         /* how many messages it has sent */
    int close_code;          /* from the close frame; 0 when none came */
    bool is_slow;            /* reads nothing, or at slow_rate */
    bool wants_write;
    bool is_dirty;           /* has messages queued in this step of the loop */
    uint64_t sent_at;        /* HTTP: when the request under way left */
    unsigned char *tail;     /* bytes read and not yet a whole frame */
    size_t tail_len, tail_cap;
    unsigned char *out;      /* bytes not yet taken by the socket */
    size_t out_len, out_cap;
    void *extra;             /* the mode's own */
};

/* What a mode does on each turn; NULL for nothing. */
struct handlers {
    void (*opened)(struct conn *c, uint64_t now);
    void (*data)(struct conn *c, const unsigned char *payload, size_t len, uint64_t now);
    void (*closed)(struct conn *c);
    /* Takes the bytes of a connection that does not speak WebSocket; returns how many it consumed. */
    size_t (*raw)(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now);
};

enum dialect { DIALECT_PLAIN, DIALECT_COLLABD, DIALECT_SOCKETIO, DIALECT_HTTP };

struct target {
    const char *host;
    int port;
    const char *path; /* %r: the room's UUID, %c: the client's number */
    enum dialect dialect;
    bool quick_ack;
};

extern struct target target;
extern struct handlers handlers;
extern uint64_t opened;       /* connections that are through handshake and welcome */
extern uint64_t refused, cut; /* handshakes refused; connections lost after opening, the server's doing */
extern char first_trouble[512];

void loop_init(void);
/* Handles what is ready; waits at most wait_ns for it. */
void loop_step(uint64_t wait_ns);
void conn_connect(struct conn *c, const char *path_suffix);
/* Ends it without a close frame (a reset, as when a cable is cut). */
void conn_cut(struct conn *c);
void conn_queue(struct conn *c, const void *bytes, size_t len);
void conn_flush(struct conn *c);
void conn_set_reading(struct conn *c, bool reading);
/* One small read for a slow member. */
void conn_read_some(struct conn *c, size_t limit);
/* Opens all of them, at most `at_once` handshakes under way; false when they did not all open in the time given. */
bool connect_all(struct conn *conns, uint32_t count, uint32_t at_once, double seconds);
void note_trouble(const char *what, const unsigned char *bytes, size_t len);
void room_uuid(char out[37], uint32_t number);

/* ---- WebSocket (ws.c) ---- */

void ws_request(struct conn *c, const char *path);
/* Handles an upgrade's answer; bytes consumed, 0 when it is not complete. */
size_t ws_answer(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now);
/* Handles all complete frames; bytes consumed. */
size_t ws_frames(struct conn *c, const unsigned char *bytes, size_t len, uint64_t now);
void ws_queue_text(struct conn *c, const void *payload, size_t len);

/* ---- markers (marker.c): "^!" and sixteen hex digits, the time of sending in nanoseconds ---- */

#define MARKER_LEN 18
void marker_write(char *at, uint64_t ns);
/* The next marker in the bytes, or NULL; *ns is its time. */
const unsigned char *marker_find(const unsigned char *bytes, size_t len, uint64_t *ns);
uint64_t hex16(const unsigned char *digits);

/* ---- modes ---- */

int rooms_main(int argc, char **argv);
int herd_main(int argc, char **argv);
int http_main(int argc, char **argv);

/* The value of --name among the arguments, or the default. */
const char *option(int argc, char **argv, const char *name, const char *fallback);
double option_number(int argc, char **argv, const char *name, double fallback);
void read_target(int argc, char **argv);

#endif
