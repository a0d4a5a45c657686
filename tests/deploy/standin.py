"""A small product: `release` counts its runs in all three servers, `web` answers /readyz and has a child of its own."""

import http.server
import os
import subprocess
import sys

import psycopg2
from pymongo import MongoClient
from redis import Redis


def release() -> None:
    with MongoClient(os.environ["MONGODB_URL"]) as mongo, Redis.from_url(os.environ["REDIS_URL"]) as valkey:
        runs = mongo.get_default_database()["runs"]
        runs.insert_one({})
        postgres = psycopg2.connect(os.environ["DATABASE_URL"])
        with postgres, postgres.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS runs (id serial); INSERT INTO runs DEFAULT VALUES")
            cursor.execute("SELECT count(*) FROM runs")
            (rows,) = cursor.fetchone()
        postgres.close()
        print("runs", runs.count_documents({}), rows, valkey.incr("runs"), flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def web() -> None:
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    {"release": release, "web": web}[sys.argv[1]]()
