/* SPDX-License-Identifier: MIT
 * The HTTP layer alone, to be measured with a load generator: the real api
 * over the stub node of the unit tests, which completes at once from another
 * thread.
 *
 *      api_server HOST:PORT THREADS
 *      wrk -t1 -c256 -s tests/bench/write.lua http://HOST:PORT/write
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "api/api.h"
#include "stub_node.h"

int main(int argc, char **argv)
{
    struct buf reason = BUF_INIT;
    struct api *api = NULL;
    struct rlimit files;
    sigset_t end;
    int signal_number;
    if (argc != 3) {
        fprintf(stderr, "usage: api_server HOST:PORT THREADS\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct api_options options = {
        .bind_addr = argv[1],
        .threads = (unsigned)strtoul(argv[2], NULL, 10),
        .version = "bench",
        .limits = {.max_connections = 10000, .request_timeout_ms = 5000, .max_value_size = MIB}};
    struct node *node = stub_node_new();
    if (api_listen(&options, &reason, &api) != 0 || api_start(api, node, &reason) != 0) {
        fprintf(stderr, "api_server: %s\n", buf_str(&reason));
        return 1;
    }
    sigwait(&end, &signal_number);
    api_drain(api, 1000);
    api_stop(&api);
    stub_node_free(&node);
    return 0;
}
