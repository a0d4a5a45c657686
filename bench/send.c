/* Senders: each client sends one request, waits for its answer, sends the next. Usage: send WARM SECONDS FILE.
 * FILE: a line a client: PORT, "http" or "ws", PATH, TOKEN, BODY between tabs. Sixteen times "@" in the body become a
 * number that is never used twice. "ws" signs in with the token and sends the body as a frame; its answer is the next
 * result or error. Prints "started" when the WARM seconds are over, then one JSON object: answers within SECONDS, and
 * latencies, in all and a port. Requests still under way at the end are waited for: theirs count, too. */
#include "wire.h"

#define ID "@@@@@@@@@@@@@@@@"
#define CLIENTS_MAX 4096
#define WAIT_S 10

enum State { CONNECTING, UPGRADING, SIGNING_IN, READY, WAITING };

typedef struct {
  int fd, port, websocket;
  enum State state;
  char *request, *id, *path, *token;
  size_t length, have;
  uint64_t sent;
  unsigned char buffer[32768];
} Client;

typedef struct { int port; uint32_t us; } Latency;

static Client *clients[CLIENTS_MAX];
static int count, epoll, measuring, stopping, waiting;
static uint64_t number, answers, errors;
static Latency *latencies;
static size_t samples, samples_max = 1 << 16;

static int ascending(const void *a, const void *b) {
  const Latency *x = a, *y = b;
  return x->port != y->port ? x->port - y->port : (x->us > y->us) - (x->us < y->us);
}

static int by_latency(const void *a, const void *b) {
  const Latency *x = a, *y = b;
  return (x->us > y->us) - (x->us < y->us);
}

static void prepare(Client *c, const char *body) {
  size_t length = strlen(body);
  c->request = malloc(length + 8192);
  if (c->websocket) c->length = frame_head((unsigned char *)c->request, TEXT, length, 1);
  else
    c->length = (size_t)sprintf(c->request,
                                "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                                "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                                c->path, c->port, c->token, length);
  memcpy(c->request + c->length, body, length);
  c->id = memmem(c->request + c->length, length, ID, 16);
  c->length += length;
}

static void ask(Client *c) {
  char id[17];
  snprintf(id, sizeof id, "%016llx", (unsigned long long)++number);
  if (c->id) memcpy(c->id, id, 16);
  c->sent = now_ns();
  if (send(c->fd, c->request, c->length, MSG_NOSIGNAL) != (ssize_t)c->length) fail("send");
  c->state = WAITING;
  waiting++;
}

static void answered(Client *c, int good) {
  waiting--;
  c->state = READY;
  if (measuring || (stopping && samples)) {
    if (!latencies || samples == samples_max) latencies = realloc(latencies, (samples_max *= 2) * sizeof *latencies);
    latencies[samples++] = (Latency){c->port, (uint32_t)((now_ns() - c->sent) / 1000)};
    answers += (uint64_t)(measuring && good), errors += !good;
  }
  if (!good && errors < 3) fprintf(stderr, "%.*s\n", (int)c->have, c->buffer);
  if (!stopping) ask(c);
}

static void connected(Client *c) {
  char request[1024];
  watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, (uint64_t)(uintptr_t)c);
  if (!c->websocket) {
    c->state = READY;
    return;
  }
  int length = snprintf(request, sizeof request, UPGRADE "Sec-WebSocket-Protocol: wechat.v1\r\n\r\n", c->path, c->port);
  if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) fail("connect");
  c->state = UPGRADING;
}

/* The size of a whole HTTP answer, or 0. */
static size_t http_size(const Client *c) {
  unsigned char *end = memmem(c->buffer, c->have, "\r\n\r\n", 4);
  unsigned char *field = end ? memmem(c->buffer, (size_t)(end - c->buffer), "Content-Length: ", 16) : NULL;
  if (!end) return 0;
  size_t size = (size_t)(end + 4 - c->buffer) + (field ? strtoul((char *)field + 16, NULL, 10) : 0);
  return size <= c->have ? size : 0;
}

static void frame(Client *c, unsigned char *bytes, size_t head, size_t size) {
  const char *text = (char *)bytes + head;
  if ((bytes[0] & 15) == PING) send_frame(c->fd, PONG, text, size - head);
  if ((bytes[0] & 15) == CLOSE) fprintf(stderr, "closed: %.*s\n", (int)(size - head), text), exit(1);
  if ((bytes[0] & 15) != TEXT) return;
  if (c->state == SIGNING_IN) c->state = READY;
  else if (!strncmp(text, "{\"op\":\"result\"", 14)) answered(c, 1);
  else if (!strncmp(text, "{\"op\":\"error\"", 13)) answered(c, 0);
}

static void readable(Client *c) {
  ssize_t got = read(c->fd, c->buffer + c->have, sizeof c->buffer - 1 - c->have);
  size_t size, head;
  if (got <= 0) fail("the server closed");
  c->have += (size_t)got;
  for (;;) {
    if (c->state == UPGRADING || !c->websocket) {
      if (!(size = http_size(c))) return;
      if (c->websocket) {
        char auth[8192];
        int length = snprintf(auth, sizeof auth, "{\"op\":\"auth\",\"token\":\"%s\"}", c->token);
        c->state = SIGNING_IN;
        send_frame(c->fd, TEXT, auth, (size_t)length);
      } else {
        answered(c, c->buffer[9] == '2');
      }
    } else {
      if (!(size = frame_size(c->buffer, c->have, &head))) return;
      frame(c, c->buffer, head, size);
    }
    memmove(c->buffer, c->buffer + size, c->have -= size);
  }
}

static void turn(void) {
  struct epoll_event events[256];
  int ready = epoll_wait(epoll, events, 256, 20);
  for (int i = 0; i < ready; i++) {
    Client *c = events[i].data.ptr;
    if (c->state == CONNECTING) connected(c);
    else readable(c);
  }
}

static void run(double seconds) {
  for (uint64_t end = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < end;) turn();
}

static void spread(const Latency *first, size_t n) {
  printf("\"answers\":%zu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}", n, n ? first[n / 2].us : 0,
         n ? first[n * 99 / 100].us : 0, n ? first[n - 1].us : 0);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  allow_files();
  number = (uint64_t)time(NULL) * 1000000000u + now_ns() % 1000000000u; /* far from those of other runs */
  FILE *file = fopen(argv[3], "r");
  char text[16384], *fields[5];
  if (!file) fail(argv[3]);
  epoll = epoll_create1(0);
  while (fgets(text, sizeof text, file) && count < CLIENTS_MAX) {
    Client *c = clients[count++] = calloc(1, sizeof *c);
    split(strdup(text), fields, 5);
    c->port = atoi(fields[0]), c->websocket = !strcmp(fields[1], "ws"), c->path = fields[2], c->token = fields[3];
    prepare(c, fields[4]);
    c->fd = start_connect(c->port);
    watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, (uint64_t)(uintptr_t)c);
  }
  for (int ready = 0; ready < count;) {
    turn();
    ready = 0;
    for (int i = 0; i < count; i++) ready += clients[i]->state == READY;
  }
  for (int i = 0; i < count; i++) ask(clients[i]);
  run(atof(argv[1]));
  printf("started\n"), fflush(stdout);
  uint64_t began = now_ns();
  measuring = 1;
  run(atof(argv[2]));
  double seconds = (double)(now_ns() - began) / 1e9;
  measuring = 0, stopping = 1;
  printf("{\"seconds\":%.3f,\"good\":%llu,", seconds, (unsigned long long)answers);
  fflush(stdout);
  for (uint64_t end = now_ns() + WAIT_S * 1000000000ull; waiting && now_ns() < end;) turn();
  printf("\"errors\":%llu,\"stuck\":%d,\"all\":{", (unsigned long long)errors, waiting);
  qsort(latencies, samples, sizeof *latencies, by_latency);
  spread(latencies, samples);
  qsort(latencies, samples, sizeof *latencies, ascending);
  printf(",\"ports\":[");
  for (size_t i = 0, n; i < samples; i += n) {
    for (n = 1; i + n < samples && latencies[i + n].port == latencies[i].port;) n++;
    printf("%s{\"port\":%d,", i ? "," : "", latencies[i].port);
    spread(latencies + i, n);
  }
  printf("]}\n");
  return 0;
}
