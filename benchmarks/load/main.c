/* load MODE --port N --path P --dialect plain|collabd|socketio|nchan|http …: one process that plays all the clients. */
#include "load.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 0; i + 1 < argc; i++)
        if (!strcmp(argv[i], name))
            return argv[i + 1];
    return fallback;
}

double option_number(int argc, char **argv, const char *name, double fallback)
{
    const char *value = option(argc, argv, name, NULL);
    return value ? atof(value) : fallback;
}

void read_target(int argc, char **argv)
{
    const char *dialect = option(argc, argv, "--dialect", "plain");
    target.host = "127.0.0.1"; /* never anything but this machine */
    target.port = (int)option_number(argc, argv, "--port", 0);
    target.path = option(argc, argv, "--path", "/");
    target.quick_ack = !strcmp(dialect, "nchan");
    target.dialect = !strcmp(dialect, "collabd")    ? DIALECT_COLLABD
                     : !strcmp(dialect, "socketio") ? DIALECT_SOCKETIO
                     : !strcmp(dialect, "http")     ? DIALECT_HTTP
                                                    : DIALECT_PLAIN;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(300); /* whatever happens, it ends */
    read_target(argc, argv);
    loop_init();
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "rooms"))
        return rooms_main(argc, argv);
    if (!strcmp(mode, "herd"))
        return herd_main(argc, argv);
    if (!strcmp(mode, "http"))
        return http_main(argc, argv);
    fprintf(stderr, "usage: load rooms|herd|http --port N --path P …\n");
    return 2;
}
