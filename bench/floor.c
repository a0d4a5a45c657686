/* The floor: one ready websocket frame to every follower with send(2), RATE times a second, BURST in a row.
 * Usage: floor PORT RATE [BURST]. Nothing less can be done for a delivery without joining frames. */
#include "wire.h"
#include <sys/timerfd.h>

#define PAYLOAD 250
#define FILES_MAX 65536
#define ANSWER "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static int followers[FILES_MAX], place[FILES_MAX], count; /* `place` of a file in `followers`, from 1 */

static void follow(int fd) {
  followers[count] = fd;
  place[fd] = ++count;
  if (send(fd, ANSWER, strlen(ANSWER), MSG_NOSIGNAL) < 0) fail("send");
}

static void leave(int fd) {
  if (place[fd]) {
    int last = followers[--count];
    followers[place[fd] - 1] = last;
    place[last] = place[fd];
    place[fd] = 0;
  }
  close(fd);
}

/* As the product's frame: as long, and with the clock in its data. */
static size_t make_frame(unsigned char *frame) {
  char payload[PAYLOAD + 64];
  size_t head = frame_head(frame, TEXT, PAYLOAD, 0);
  int used = snprintf(payload, sizeof payload,
                      "{\"op\":\"event\",\"topic\":\"conv:0198f0aa-3f6e-7cc1-9e5b-0242ac120002\","
                      "\"id\":\"k3f9ab2c:1732\",\"type\":\"MessageReceived\",\"data\":{\"text\":\"@@%llu ",
                      (unsigned long long)now_ns());
  memset(payload + used, '.', (size_t)(PAYLOAD - used));
  memcpy(payload + PAYLOAD - 3, "\"}}", 3);
  memcpy(frame + head, payload, PAYLOAD);
  return head + PAYLOAD;
}

static void publish(int burst) {
  unsigned char frame[PAYLOAD + 14];
  for (; burst > 0; burst--) {
    size_t length = make_frame(frame);
    for (int i = 0; i < count; i++) send(followers[i], frame, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

static int start_timer(double rate) {
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  long ns = (long)(1e9 / rate);
  struct itimerspec each = {{ns / 1000000000, ns % 1000000000}, {ns / 1000000000, ns % 1000000000}};
  if (timer < 0 || timerfd_settime(timer, 0, &each, NULL)) fail("timer");
  return timer;
}

static int start_listening(int port) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in address = loopback(port);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) fail("listen");
  return listener;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  allow_files();
  int burst = argc > 3 ? atoi(argv[3]) : 1, epoll = epoll_create1(0);
  int listener = start_listening(atoi(argv[1])), timer = start_timer(atof(argv[2]));
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
  watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, (uint64_t)timer);
  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      int fd = (int)events[i].data.u64, one = 1;
      char request[4096];
      uint64_t ticks;
      if (fd == listener) {
        int client = accept(listener, NULL, NULL);
        if (client < 0 || client >= FILES_MAX) fail("accept");
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(epoll, EPOLL_CTL_ADD, client, EPOLLIN, (uint64_t)client);
      } else if (fd == timer) {
        if (read(timer, &ticks, sizeof ticks) > 0) publish(burst);
      } else if (read(fd, request, sizeof request) <= 0) {
        leave(fd);
      } else if (!place[fd]) {
        follow(fd);
      }
    }
  }
}
