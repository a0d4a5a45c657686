/* What the C programs share: the clock, sockets on loopback, websocket frames, latencies. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define UPGRADE "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline void allow_files(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static inline void watch(int epoll, int how, int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  if (epoll_ctl(epoll, how, fd, &event)) fail("epoll_ctl");
}

/* A socket whose connect is under way; it is writable when it is through. */
static inline int start_connect(int port) {
  struct sockaddr_in address = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
  return fd;
}

/* The first bytes of a frame. Clients mask with zeros, which leaves the payload as it is. */
static inline size_t frame_head(unsigned char *head, int opcode, size_t length, int masked) {
  size_t used = 2;
  head[0] = (unsigned char)(0x80 | opcode);
  if (length < 126) {
    head[1] = (unsigned char)length;
  } else {
    head[1] = 126, head[2] = (unsigned char)(length >> 8), head[3] = (unsigned char)length;
    used = 4;
  }
  if (masked) {
    head[1] |= 0x80;
    memset(head + used, 0, 4);
    used += 4;
  }
  return used;
}

/* The size of the server's frame at `bytes`, or 0 while it is not all there. */
static inline size_t frame_size(const unsigned char *bytes, size_t length, size_t *head) {
  if (length < 2) return 0;
  uint64_t payload = bytes[1] & 127;
  *head = payload == 126 ? 4 : payload == 127 ? 10 : 2;
  if (length < *head) return 0;
  if (*head > 2) {
    payload = 0;
    for (size_t i = 2; i < *head; i++) payload = payload << 8 | bytes[i];
  }
  return length < *head + payload ? 0 : *head + (size_t)payload;
}

static inline void send_frame(int fd, int opcode, const void *payload, size_t length) {
  unsigned char *frame = malloc(length + 14);
  size_t head = frame_head(frame, opcode, length, 1);
  memcpy(frame + head, payload, length);
  /* The server may have closed already: then the read that follows tells. A buffer that is full can't be. */
  if (send(fd, frame, head + length, MSG_NOSIGNAL) < 0 && errno == EAGAIN) fail("send");
  free(frame);
}

/* A tab-separated line in its fields; those that are missing are empty. */
static inline void split(char *line, char **fields, int count) {
  line[strcspn(line, "\n")] = 0;
  for (int i = 0; i < count; i++) {
    char *end = strchr(line, '\t');
    fields[i] = line;
    line = end ? end + 1 : line + strlen(line);
    if (end) *end = 0;
  }
}
