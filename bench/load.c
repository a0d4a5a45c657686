/* Followers: COUNT websockets that sign in, subscribe, then count the events whose data holds "@@" and the clock.
 * Usage: load PORT COUNT WINDOW FILE. WINDOW: how many may be opening at a time.
 * FILE: a line a connection, cycled: PATH, SUBPROTOCOL, AUTH FRAME, SUBSCRIBE FRAME between tabs; all but the path may
 * be empty. Says what came of opening them, then obeys lines on stdin, each answered by one JSON object:
 *   measure SECONDS FRAMES   all since the last answer, until so many came to each connection (0: until the time is up)
 *   churn COUNT              close and open again so many connections, half of them without a word */
#include "wire.h"

enum State { IDLE, CONNECTING, UPGRADING, SIGNING_IN, SUBSCRIBING, LIVE, LEAVING };

typedef struct {
  int fd, line;
  enum State state;
  uint32_t frames;
  unsigned char *part; /* the beginning of a frame whose end has not come */
  size_t part_length;
} Connection;

typedef struct { char *path, *protocol, *auth, *subscribe; } Line;

static Connection *connections;
static Line *lines;
static int port, count, window, line_count, epoll, opening, live, closed, recovered, unrecovered;
static int next, to_churn; /* the next connection to open; how many are still to be opened again */
static uint32_t *latencies;
static size_t samples, samples_max = 1 << 16;
static uint32_t target, behind; /* frames that each connection shall get, and how many have not yet */
static uint64_t arrived;        /* when what is being looked at was read */
static unsigned char buffer[1 << 20];

static void sample(uint64_t latency_ns) {
  if (!latencies || samples == samples_max) latencies = realloc(latencies, (samples_max *= 2) * sizeof *latencies);
  latencies[samples++] = (uint32_t)(latency_ns / 1000);
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void open_next(Connection *c) {
  c->fd = start_connect(port);
  c->state = CONNECTING;
  opening++;
  watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, (uint64_t)(c - connections));
}

static void upgrade(Connection *c) {
  char request[1024];
  const Line *line = &lines[c->line];
  int length = snprintf(request, sizeof request, UPGRADE "%s%s%s\r\n", line->path, port,
                        *line->protocol ? "Sec-WebSocket-Protocol: " : "", line->protocol,
                        *line->protocol ? "\r\n" : "");
  if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) fail("connect");
  c->state = UPGRADING;
  watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, (uint64_t)(c - connections));
}

static void drop(Connection *c) {
  close(c->fd);
  c->part_length = 0;
  if (c->state == LIVE || c->state == LEAVING) live--;
  else opening--;
  if (c->state == LEAVING) open_next(c); /* the next one of a churn */
  else closed++, c->state = IDLE;
}

static void went_live(Connection *c) {
  c->state = LIVE;
  opening--, live++;
  if (to_churn) {
    c->state = LEAVING;
    if (to_churn-- % 2) drop(c);
    else send_frame(c->fd, CLOSE, "\x03\xe8", 2); /* 1000 */
  }
}

static void signed_in(Connection *c) {
  const char *subscribe = lines[c->line].subscribe;
  if (!*subscribe) return went_live(c);
  c->state = SUBSCRIBING;
  send_frame(c->fd, TEXT, subscribe, strlen(subscribe));
}

static void upgraded(Connection *c) {
  const char *auth = lines[c->line].auth;
  if (!*auth) return went_live(c);
  c->state = SIGNING_IN;
  send_frame(c->fd, TEXT, auth, strlen(auth));
}

static void refuse_error(const unsigned char *text, size_t length) {
  if (memmem(text, length, "\"error\"", 7)) {
    fprintf(stderr, "%.*s\n", (int)length, text);
    exit(1);
  }
  if (memmem(text, length, "\"recovered\":true", 16)) recovered++;
  if (memmem(text, length, "\"recovered\":false", 17)) unrecovered++;
}

static void text_frame(Connection *c, const unsigned char *text, size_t length) {
  unsigned char *clock = memmem(text, length, "@@", 2);
  if (clock) {
    sample(arrived - strtoull((char *)clock + 2, NULL, 10));
    if (++c->frames == target) behind--;
  } else if (c->state == SIGNING_IN) {
    refuse_error(text, length);
    signed_in(c);
  } else if (c->state == SUBSCRIBING && memmem(text, length, "\"subscribed\"", 12)) {
    refuse_error(text, length);
    went_live(c);
  }
}

/* How much of the buffer is dealt with. */
static size_t look(Connection *c, size_t length) {
  size_t used = 0, size, head;
  if (c->state == UPGRADING) {
    unsigned char *end = memmem(buffer, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (!memmem(buffer, 20, " 101", 4)) {
      fprintf(stderr, "%.*s\n", (int)length, buffer);
      exit(1);
    }
    used = (size_t)(end + 4 - buffer);
    upgraded(c);
  }
  int fd = c->fd;
  while (c->fd == fd && c->state > UPGRADING && (size = frame_size(buffer + used, length - used, &head))) {
    int opcode = buffer[used] & 15;
    if (opcode == TEXT) text_frame(c, buffer + used + head, size - head);
    if (opcode == PING) send_frame(c->fd, PONG, buffer + used + head, size - head);
    used += size;
  }
  return c->fd == fd && c->state > UPGRADING ? used : length;
}

static void readable(Connection *c) {
  if (c->part_length) memcpy(buffer, c->part, c->part_length);
  ssize_t got = read(c->fd, buffer + c->part_length, sizeof buffer - c->part_length);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return drop(c);
  arrived = now_ns();
  size_t length = c->part_length + (size_t)got, used = look(c, length);
  c->part_length = length - used;
  if (c->part_length) {
    c->part = realloc(c->part, c->part_length);
    memcpy(c->part, buffer + used, c->part_length);
  }
}

/* Handle what is ready; whether a command waits on stdin. */
static int turn(void) {
  struct epoll_event events[512];
  int command = 0;
  while (next < count && opening < window) open_next(&connections[next++]);
  int ready = epoll_wait(epoll, events, 512, 20);
  for (int i = 0; i < ready; i++) {
    if (events[i].data.u64 == UINT64_MAX) {
      command = 1;
      continue;
    }
    Connection *c = &connections[events[i].data.u64];
    if (c->state == CONNECTING) upgrade(c);
    else if (c->state != IDLE) readable(c);
  }
  return command;
}

static void answer(uint64_t began) {
  uint32_t least = UINT32_MAX, most = 0;
  uint64_t frames = 0;
  for (int i = 0; i < count; i++) {
    uint32_t n = connections[i].frames;
    frames += n;
    least = n < least ? n : least, most = n > most ? n : most;
    connections[i].frames = 0;
  }
  qsort(latencies, samples, sizeof *latencies, ascending);
  printf("{\"seconds\":%.3f,\"frames\":%llu,\"min\":%u,\"max\":%u,\"open\":%d,\"closed\":%d,\"recovered\":%d,"
         "\"unrecovered\":%d,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
         (double)(now_ns() - began) / 1e9, (unsigned long long)frames, least, most, live, closed, recovered,
         unrecovered, samples ? latencies[samples / 2] : 0, samples ? latencies[samples * 99 / 100] : 0,
         samples ? latencies[samples - 1] : 0);
  fflush(stdout);
  samples = 0;
}

static void measure(double seconds, uint32_t frames) {
  uint64_t began = now_ns(), end = began + (uint64_t)(seconds * 1e9);
  target = frames, behind = 0;
  for (int i = 0; i < count; i++) behind += connections[i].frames < frames;
  while (now_ns() < end && !(frames && !behind)) turn();
  target = 0;
  answer(began);
}

/* Every connection that is live leaves and comes again, and so on. */
static void churn(int times) {
  uint64_t began = now_ns();
  to_churn = times;
  for (int i = 0; i < count && to_churn; i++)
    if (connections[i].state == LIVE) opening++, live--, went_live(&connections[i]);
  while (to_churn || live < count || opening) turn();
  answer(began);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  allow_files();
  port = atoi(argv[1]), count = atoi(argv[2]), window = atoi(argv[3]);
  FILE *file = fopen(argv[4], "r");
  char text[16384];
  if (!file) fail(argv[4]);
  while (fgets(text, sizeof text, file)) {
    lines = realloc(lines, (size_t)++line_count * sizeof *lines);
    split(strdup(text), (char **)&lines[line_count - 1], 4);
  }
  connections = calloc((size_t)count, sizeof *connections);
  for (int i = 0; i < count; i++) connections[i].line = i % line_count;
  epoll = epoll_create1(0);
  uint64_t began = now_ns();
  while (live < count) {
    turn();
    if (closed) return fprintf(stderr, "%d of %d were closed while opening\n", closed, count), 1;
  }
  printf("{\"seconds\":%.3f,\"recovered\":%d}\n", (double)(now_ns() - began) / 1e9, recovered);
  fflush(stdout);
  watch(epoll, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, UINT64_MAX);
  for (;;) {
    double seconds;
    int number;
    if (!turn()) continue;
    ssize_t got = read(STDIN_FILENO, text, sizeof text - 1); /* one command at a time, as each is answered */
    if (got <= 0) return 0;
    text[got] = 0;
    if (sscanf(text, "measure %lf %d", &seconds, &number) == 2) measure(seconds, (uint32_t)number);
    else if (sscanf(text, "churn %d", &number) == 1) churn(number);
  }
}
