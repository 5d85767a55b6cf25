/* The resume herd: all members of one run are cut at once, fall behind, and come back together.
 *
 * The harness steers it by lines on standard input: "cut", then, with events published meanwhile, "resume N" (how
 * many events each is behind). Level is who has its WELCOME and as many replayed events as that promised.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct resumer {
    char session[129], epoch[129];
    uint64_t position, replay_count;
    bool recovered, is_level;
    uint64_t level_at;
};

static struct conn *conns;
static struct resumer *resumers;
static uint32_t count, level, not_recovered, behind;

static void read_text(const unsigned char *payload, size_t len, const char *key, char out[129])
{
    const unsigned char *at = memmem(payload, len, key, strlen(key));
    size_t n = 0;
    if (at)
        for (at += strlen(key); at < payload + len && *at != '"' && n < 128; at++)
            out[n++] = (char)*at;
    out[n] = 0;
}

static uint64_t read_number(const unsigned char *payload, size_t len, const char *key)
{
    const unsigned char *at = memmem(payload, len, key, strlen(key));
    uint64_t value = 0;
    if (at)
        for (at += strlen(key); at < payload + len && *at >= '0' && *at <= '9'; at++)
            value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static void on_welcome(struct resumer *r, const unsigned char *payload, size_t len)
{
    r->recovered = memmem(payload, len, "\"recovered\":true", 16) != NULL;
    r->replay_count = read_number(payload, len, "\"replayCount\":");
    read_text(payload, len, "\"sessionId\":\"", r->session);
    read_text(payload, len, "\"epoch\":\"", r->epoch);
    r->position = read_number(payload, len, "\"sequenceNumber\":");
}

static void on_data(struct conn *c, const unsigned char *payload, size_t len, uint64_t now)
{
    struct resumer *r = c->extra;
    if (c->state != CONN_OPEN)
        on_welcome(r, payload, len);
    else if (memmem(payload, len, "\"GRAFT\"", 7))
        c->marks++;
    bool has_welcome = r->epoch[0] != 0;
    if (behind > 0 && has_welcome && !r->is_level && c->marks >= r->replay_count) {
        r->is_level = true;
        r->level_at = now;
        level++;
        not_recovered += !r->recovered || r->replay_count != behind;
    }
}

static bool wait_for_line(const char *word, uint32_t *number)
{
    char line[64];
    if (!fgets(line, sizeof line, stdin) || strncmp(line, word, strlen(word)) != 0)
        return false;
    if (number)
        *number = (uint32_t)atoi(line + strlen(word));
    return true;
}

static void come_back(uint32_t at_once)
{
    char suffix[512];
    uint64_t until = now_ns() + 60000000000ull;
    uint64_t before = opened;
    for (uint32_t i = 0; level < count && now_ns() < until;) {
        for (; i < count && i - (opened - before) < at_once; i++) {
            struct resumer *r = &resumers[i];
            snprintf(suffix, sizeof suffix, "&sessionId=%s&epoch=%s&afterSequence=%llu", r->session, r->epoch,
                     (unsigned long long)r->position);
            r->epoch[0] = 0;
            conns[i].marks = 0;
            conn_connect(&conns[i], suffix);
        }
        loop_step(20000000);
    }
}

int herd_main(int argc, char **argv)
{
    count = (uint32_t)option_number(argc, argv, "--members", 2000);
    uint32_t at_once = (uint32_t)option_number(argc, argv, "--at-once", 256);
    handlers = (struct handlers){.data = on_data};
    conns = calloc(count, sizeof *conns);
    resumers = calloc(count, sizeof *resumers);
    for (uint32_t i = 0; i < count; i++)
        conns[i] = (struct conn){.fd = -1, .index = i, .extra = &resumers[i]};
    bool complete = connect_all(conns, count, 64, 60);
    printf("{\"phase\":\"connected\",\"clients\":%llu,\"trouble\":\"%s\"}\n", (unsigned long long)opened, first_trouble);
    fflush(stdout);
    if (!complete || !wait_for_line("cut", NULL))
        return 1;
    for (uint32_t i = 0; i < count; i++)
        conn_cut(&conns[i]);
    printf("{\"phase\":\"cut\"}\n");
    fflush(stdout);
    if (!wait_for_line("resume ", &behind))
        return 1;
    printf("{\"phase\":\"start\"}\n");
    fflush(stdout);
    uint64_t begun = now_ns();
    come_back(at_once);
    struct histogram *times = calloc(1, sizeof *times);
    for (uint32_t i = 0; i < count; i++)
        if (resumers[i].is_level)
            histogram_add(times, resumers[i].level_at - begun);
    printf("{\"phase\":\"stop\",\"seconds\":%.6f,\"level\":%u,\"not_recovered\":%u,\"refused\":%llu,\"cut\":%llu,"
           "\"trouble\":\"%s\",",
           (double)times->max_ns / 1e9, level, not_recovered, (unsigned long long)refused, (unsigned long long)cut,
           first_trouble);
    histogram_print(times, "level");
    printf("}\n");
    fflush(stdout);
    for (uint32_t i = 0; i < count; i++)
        conn_cut(&conns[i]);
    return 0;
}
