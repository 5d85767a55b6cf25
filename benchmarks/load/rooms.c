/* Rooms of members: closed loop, open loop, slow members, acknowledged writers, idle clients, connect storms.
 *
 * A message is done when every member of its room that reads has it; a room with `outstanding` keeps that many not
 * done. With `rate` messages leave by the clock instead, stamped with the time they were due, so that a server that
 * falls behind cannot hide it. With `acks` each writer keeps `outstanding` messages of its own not acknowledged. With
 * `awake` the clients look for bytes again and again and never sleep, so that no server pays for waking them.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define MAX_GROUPS 8
#define STALL_NS 1000000000ull

struct group {
    uint32_t rooms, members, outstanding, writers, slow, slow_rate, size;
    double rate;
    bool acks, awake;
    struct room *room;
    struct histogram latency, ack_latency;
    uint64_t deliveries, messages, acked, errors, lost;
    uint64_t due_ns; /* open loop: when the next message is due */
    uint32_t next_room;
};

struct room {
    struct group *group;
    struct conn *member;
    uint32_t live, next_writer;
    uint64_t sent, delivered, progress_ns;
    bool is_touched;
};

static struct group groups[MAX_GROUPS];
static uint32_t group_count, conn_count, room_count, touched_count, dirty_count;
static struct conn *conns;
static struct room *rooms, **touched;
static struct conn **dirty;
static bool is_writing, is_measuring;
static char *text;

/* ---- what is sent ---- */

static size_t build_cursor(struct group *g, uint64_t stamp)
{
    bool wraps = target.dialect == DIALECT_SOCKETIO;
    const char *head = "{\"eventType\":\"CURSOR_MOVE\",\"data\":{\"nodeId\":\"";
    const char *middle = "\",\"view\":\"";
    uint32_t fixed = 11 + MARKER_LEN + 10 + 2; /* of data: {"nodeId":" marker ","view":" … "} */
    uint32_t padding = g->size > fixed ? g->size - fixed : 0;
    char *at = text;
    at += sprintf(at, "%s%s", wraps ? "42[\"m\"," : "", head);
    marker_write(at, stamp);
    at += MARKER_LEN;
    at += sprintf(at, "%s", middle);
    memset(at, 'x', padding);
    at += padding;
    at += sprintf(at, "\"}}%s", wraps ? "]" : "");
    return (size_t)(at - text);
}

static size_t build_critical(struct conn *c, uint64_t stamp)
{
    char marker[MARKER_LEN + 1] = {0};
    marker_write(marker, stamp);
    return (size_t)sprintf(text,
                           "{\"eventType\":\"GRAFT\",\"data\":{\"after\":\"ARCHITECT\",\"agentName\":\"%s\"},"
                           "\"clientMessageId\":\"b%05u.%07u.%s\"}",
                           marker, c->index, c->serial, marker + 2);
}

static void send_one(struct conn *c, uint64_t stamp)
{
    struct room *room = c->room;
    struct group *g = room->group;
    size_t len = g->acks ? build_critical(c, stamp) : build_cursor(g, stamp);
    ws_queue_text(c, text, len);
    c->serial++;
    room->sent++;
    g->messages += is_measuring;
    if (!c->is_dirty) {
        c->is_dirty = true;
        dirty[dirty_count++] = c;
    }
}

static void touch(struct room *room)
{
    if (!room->is_touched) {
        room->is_touched = true;
        touched[touched_count++] = room;
    }
}

static void fill_room(struct room *room, uint64_t now)
{
    struct group *g = room->group;
    if (!is_writing || g->acks || room->live == 0)
        return;
    while (room->sent - room->delivered / room->live < g->outstanding) {
        struct conn *writer = &room->member[g->slow + room->next_writer];
        room->next_writer = (room->next_writer + 1) % g->writers;
        if (writer->state != CONN_OPEN)
            return;
        send_one(writer, now);
    }
}

static void fill_writer(struct conn *c, uint64_t now)
{
    while (is_writing && c->state == CONN_OPEN && c->inflight < c->room->group->outstanding) {
        c->inflight++;
        send_one(c, now);
    }
}

static void send_what_is_due(struct group *g, uint64_t now)
{
    uint64_t interval = (uint64_t)(1e9 / g->rate);
    while (is_writing && g->due_ns <= now) {
        struct room *room = &g->room[g->next_room];
        g->next_room = (g->next_room + 1) % g->rooms;
        struct conn *writer = &room->member[g->slow + room->next_writer];
        room->next_writer = (room->next_writer + 1) % g->writers;
        if (writer->state == CONN_OPEN)
            send_one(writer, g->due_ns);
        g->due_ns += interval;
    }
}

static void flush_all(uint64_t now)
{
    for (uint32_t i = 0; i < touched_count; i++) {
        touched[i]->is_touched = false;
        fill_room(touched[i], now);
    }
    touched_count = 0;
    for (uint32_t i = 0; i < dirty_count; i++) {
        dirty[i]->is_dirty = false;
        conn_flush(dirty[i]);
    }
    dirty_count = 0;
}

/* ---- what comes back ---- */

static void on_reply(struct conn *c, const unsigned char *payload, size_t len, uint64_t now)
{
    struct group *g = c->room->group;
    if (memmem(payload, len, "\"ERROR\"", 7)) {
        note_trouble("error", payload, len);
        g->errors++;
        if (c->inflight > 0)
            c->inflight--;
        return;
    }
    if (!g->acks || !memmem(payload, len, "\"ACK\"", 5))
        return;
    const unsigned char *id = memmem(payload, len, "\"clientMessageId\":\"b", 20);
    if (!id || id + 20 + 14 + 16 > payload + len)
        return;
    if (is_measuring) {
        g->acked++;
        histogram_add(&g->ack_latency, now - hex16(id + 20 + 14));
    }
    c->inflight--;
    fill_writer(c, now);
}

static void on_data(struct conn *c, const unsigned char *payload, size_t len, uint64_t now)
{
    struct room *room = c->room;
    struct group *g = room->group;
    if (c->state != CONN_OPEN)
        return;
    const unsigned char *end = payload + len, *at = payload;
    uint64_t stamp, found = 0;
    while ((at = marker_find(at, (size_t)(end - at), &stamp)) != NULL) {
        at += MARKER_LEN;
        found++;
        if (is_measuring && !c->is_slow)
            histogram_add(&g->latency, now > stamp ? now - stamp : 0);
    }
    if (found == 0) {
        on_reply(c, payload, len, now);
        return;
    }
    c->marks += found;
    if (c->is_slow)
        return;
    room->delivered += found;
    room->progress_ns = now;
    if (is_measuring)
        g->deliveries += found;
    touch(room);
}

static void on_opened(struct conn *c, uint64_t now)
{
    (void)now;
    if (!c->is_slow)
        c->room->live++;
    else
        conn_set_reading(c, false);
}

static void on_closed(struct conn *c)
{
    if (!c->is_slow && c->room->live > 0)
        c->room->live--;
}

/* A room in which nothing moved for a second has lost something: count it, and go on. */
static void forgive_stalls(uint64_t now)
{
    for (uint32_t i = 0; i < room_count; i++) {
        struct room *room = &rooms[i];
        uint64_t owed = room->sent * room->live;
        if (room->group->outstanding == 0 || room->delivered >= owed || now - room->progress_ns < STALL_NS)
            continue;
        room->group->lost += is_measuring ? owed - room->delivered : 0;
        room->delivered = owed;
        room->progress_ns = now;
        touch(room);
    }
}

static void read_slow_members(double seconds)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        struct conn *c = &conns[i];
        if (c->is_slow && c->state == CONN_OPEN && c->room->group->slow_rate > 0)
            conn_read_some(c, (size_t)(c->room->group->slow_rate * seconds));
    }
}

/* ---- the run ---- */

static uint64_t time_to_next(uint64_t now, uint64_t until)
{
    uint64_t wait = until > now ? until - now : 0;
    for (uint32_t i = 0; i < group_count; i++)
        if (is_writing && groups[i].awake)
            wait = 0;
        else if (is_writing && groups[i].rate > 0)
            wait = groups[i].due_ns <= now ? 0 : groups[i].due_ns - now < wait ? groups[i].due_ns - now : wait;
    return wait < 50000000 ? wait : 50000000;
}

static void run_for(double seconds)
{
    uint64_t now = now_ns(), until = now + (uint64_t)(seconds * 1e9), next_slow = now, next_check = now;
    while (now < until) {
        for (uint32_t i = 0; i < group_count; i++)
            if (groups[i].rate > 0)
                send_what_is_due(&groups[i], now);
        flush_all(now);
        loop_step(time_to_next(now, until));
        now = now_ns();
        flush_all(now);
        if (now >= next_slow) {
            read_slow_members(0.05);
            next_slow = now + 50000000;
        }
        if (now >= next_check) {
            forgive_stalls(now);
            next_check = now + STALL_NS / 4;
        }
    }
}

static void start_writing(void)
{
    uint64_t now = now_ns();
    is_writing = true;
    for (uint32_t i = 0; i < group_count; i++)
        groups[i].due_ns = now;
    for (uint32_t i = 0; i < room_count; i++) {
        rooms[i].progress_ns = now;
        touch(&rooms[i]);
        for (uint32_t w = 0; rooms[i].group->acks && w < rooms[i].group->writers; w++)
            fill_writer(&rooms[i].member[w], now);
    }
    flush_all(now);
}

static void clear_figures(void)
{
    for (uint32_t i = 0; i < group_count; i++) {
        struct group *g = &groups[i];
        histogram_clear(&g->latency);
        histogram_clear(&g->ack_latency);
        g->deliveries = g->messages = g->acked = g->errors = g->lost = 0;
    }
}

static void print_figures(double seconds)
{
    printf("{\"phase\":\"stop\",\"seconds\":%.6f,\"refused\":%llu,\"cut\":%llu,\"trouble\":\"%s\",\"groups\":[", seconds,
           (unsigned long long)refused, (unsigned long long)cut, first_trouble);
    for (uint32_t i = 0; i < group_count; i++) {
        struct group *g = &groups[i];
        printf("%s{\"deliveries\":%llu,\"messages\":%llu,\"acked\":%llu,\"errors\":%llu,\"lost\":%llu,", i ? "," : "",
               (unsigned long long)g->deliveries, (unsigned long long)g->messages, (unsigned long long)g->acked,
               (unsigned long long)g->errors, (unsigned long long)g->lost);
        histogram_print(&g->latency, "latency");
        printf(",");
        histogram_print(&g->ack_latency, "ack");
        printf("}");
    }
    printf("]}\n");
    fflush(stdout);
}

static void parse_group(const char *spec)
{
    struct group *g = &groups[group_count++];
    *g = (struct group){.rooms = 1, .members = 1, .size = 60};
    char *copy = strdup(spec), *save = NULL;
    for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        char *value = strchr(part, '=');
        if (!value)
            continue;
        *value++ = 0;
        double number = atof(value);
        if (!strcmp(part, "rooms")) g->rooms = (uint32_t)number;
        else if (!strcmp(part, "members")) g->members = (uint32_t)number;
        else if (!strcmp(part, "outstanding")) g->outstanding = (uint32_t)number;
        else if (!strcmp(part, "writers")) g->writers = (uint32_t)number;
        else if (!strcmp(part, "rate")) g->rate = number;
        else if (!strcmp(part, "slow")) g->slow = (uint32_t)number;
        else if (!strcmp(part, "slow_rate")) g->slow_rate = (uint32_t)number;
        else if (!strcmp(part, "size")) g->size = (uint32_t)number;
        else if (!strcmp(part, "acks")) g->acks = number != 0;
        else if (!strcmp(part, "awake")) g->awake = number != 0;
        else fprintf(stderr, "unknown word in --group: %s\n", part), exit(2);
    }
    if (g->writers == 0 || g->writers > g->members - g->slow)
        g->writers = g->members - g->slow;
    free(copy);
}

static void make_rooms(uint32_t first_room)
{
    size_t largest = 0;
    for (uint32_t i = 0; i < group_count; i++) {
        room_count += groups[i].rooms;
        conn_count += groups[i].rooms * groups[i].members;
        largest = groups[i].size > largest ? groups[i].size : largest;
    }
    text = malloc(largest + 512);
    conns = calloc(conn_count, sizeof *conns);
    dirty = calloc(conn_count, sizeof *dirty);
    rooms = calloc(room_count, sizeof *rooms);
    touched = calloc(room_count, sizeof *touched);
    struct conn *c = conns;
    struct room *room = rooms;
    for (uint32_t i = 0; i < group_count; i++) {
        groups[i].room = room;
        for (uint32_t r = 0; r < groups[i].rooms; r++, room++) {
            *room = (struct room){.group = &groups[i], .member = c};
            for (uint32_t m = 0; m < groups[i].members; m++, c++)
                *c = (struct conn){.fd = -1, .index = (uint32_t)(c - conns), .room = room,
                                   .room_number = first_room + (uint32_t)(room - rooms), .is_slow = m < groups[i].slow};
        }
    }
}

int rooms_main(int argc, char **argv)
{
    for (int i = 0; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--group") && group_count < MAX_GROUPS)
            parse_group(argv[i + 1]);
    make_rooms((uint32_t)option_number(argc, argv, "--first-room", 0));
    handlers = (struct handlers){.opened = on_opened, .data = on_data, .closed = on_closed};

    printf("{\"phase\":\"connecting\"}\n");
    fflush(stdout);
    uint64_t begun = now_ns();
    bool complete = connect_all(conns, conn_count, (uint32_t)option_number(argc, argv, "--at-once", 64), 60);
    printf("{\"phase\":\"connected\",\"clients\":%llu,\"refused\":%llu,\"seconds\":%.6f,\"trouble\":\"%s\"}\n",
           (unsigned long long)opened, (unsigned long long)refused, (double)(now_ns() - begun) / 1e9, first_trouble);
    fflush(stdout);
    if (!complete)
        return 1;

    run_for(option_number(argc, argv, "--settle", 0.3));
    start_writing();
    run_for(option_number(argc, argv, "--warmup", 0.5));
    clear_figures();
    printf("{\"phase\":\"start\"}\n");
    fflush(stdout);
    is_measuring = true;
    begun = now_ns();
    run_for(option_number(argc, argv, "--seconds", 2));
    is_measuring = is_writing = false;
    print_figures((double)(now_ns() - begun) / 1e9);
    for (uint32_t i = 0; i < conn_count; i++)
        conn_cut(&conns[i]);
    return 0;
}
