/* Time and the latency histogram: nothing here knows of sockets. */
#include "load.h"

#include <string.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint32_t cell_of(uint64_t ns)
{
    if (ns < HISTOGRAM_STEPS)
        return (uint32_t)ns;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t step = (uint32_t)(ns >> (power - 5)) & (HISTOGRAM_STEPS - 1);
    uint32_t cell = (power - 4) * HISTOGRAM_STEPS + step;
    return cell < HISTOGRAM_CELLS ? cell : HISTOGRAM_CELLS - 1;
}

static double upper_edge_ns(uint32_t cell)
{
    if (cell < HISTOGRAM_STEPS)
        return cell;
    uint32_t power = cell / HISTOGRAM_STEPS + 4;
    uint32_t step = cell % HISTOGRAM_STEPS;
    return (double)(1ull << (power - 5)) * (HISTOGRAM_STEPS + step + 1);
}

void histogram_clear(struct histogram *h)
{
    memset(h, 0, sizeof *h);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    h->count++;
    if (ns > h->max_ns)
        h->max_ns = ns;
    h->cell[cell_of(ns)]++;
}

double histogram_quantile_us(const struct histogram *h, double share)
{
    if (h->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)(share * (double)h->count);
    if (wanted >= h->count)
        wanted = h->count - 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_CELLS; i++) {
        seen += h->cell[i];
        if (seen > wanted) {
            double edge = upper_edge_ns(i);
            return (edge < (double)h->max_ns ? edge : (double)h->max_ns) / 1000.0;
        }
    }
    return (double)h->max_ns / 1000.0;
}

void histogram_print(const struct histogram *h, const char *name)
{
    printf("\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f,\"%s_max_us\":%.1f", name, histogram_quantile_us(h, 0.50), name,
           histogram_quantile_us(h, 0.99), name, (double)h->max_ns / 1000.0);
}
