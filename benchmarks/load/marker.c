/* The marker that makes a delivery countable in any server's bytes, however it frames or joins.
 *
 * '^' is found with memchr (vectorised by the C library); the '!' after it rules out chance: neither occurs in an
 * envelope, and a frame header that happens to hold 0x5e is followed by '{', '4' or '['.
 */
#include "load.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void marker_write(char *at, uint64_t ns)
{
    at[0] = '^';
    at[1] = '!';
    for (int i = 15; i >= 0; i--, ns >>= 4)
        at[2 + i] = digits[ns & 15];
}

uint64_t hex16(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++)
        value = value << 4 | (uint64_t)(at[i] <= '9' ? at[i] - '0' : at[i] - 'a' + 10);
    return value;
}

const unsigned char *marker_find(const unsigned char *bytes, size_t len, uint64_t *ns)
{
    const unsigned char *end = bytes + len;
    while (bytes + MARKER_LEN <= end && (bytes = memchr(bytes, '^', (size_t)(end - bytes))) != NULL) {
        if (bytes + MARKER_LEN > end)
            return NULL;
        if (bytes[1] == '!') {
            *ns = hex16(bytes + 2);
            return bytes;
        }
        bytes++;
    }
    return NULL;
}
