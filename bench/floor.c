/* The floor of fan-out: what one send() a message costs in C. Accepts argv[1] sockets on a free port of loopback,
   prints the port, then obeys lines on stdin: "<broadcast|unicast> <messages a socket> <bytes>". Answers CPU seconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void put(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, data, size, 0);
        if (n < 0) exit(1);
        data += n;
        size -= (size_t)n;
    }
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 1000, one = 1, rounds, bytes;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), *fds = calloc((size_t)count, sizeof *fds);
    static char message[1 << 16];
    char what[16];
    memset(message, 'x', sizeof message);
    bind(listener, (struct sockaddr *)&at, sizeof at);
    listen(listener, 4096);
    getsockname(listener, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        fds[i] = accept(listener, NULL, NULL);
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    while (scanf("%15s %d %d", what, &rounds, &bytes) == 3) {
        double before = cpu();
        unsigned next = 12345;
        for (int r = 0; r < rounds; r++)
            for (int i = 0; i < count; i++) {
                next = next * 1103515245u + 12345u;
                put(fds[what[0] == 'u' ? (next >> 8) % (unsigned)count : (unsigned)i], message, (size_t)bytes);
            }
        printf("%.6f\n", cpu() - before);
        fflush(stdout);
    }
    return 0;
}
