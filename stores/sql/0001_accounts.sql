-- Accounts: who there is, where they are signed in, and what was taken from them.

CREATE TABLE users (
    user_id         uuid PRIMARY KEY,
    username        text NOT NULL CONSTRAINT users_username_key UNIQUE,  -- lower case
    email           text NOT NULL,                                       -- as it was typed
    email_key       text NOT NULL CONSTRAINT users_email_key UNIQUE,     -- lower case
    email_verified  boolean NOT NULL DEFAULT false,
    password_hash   text NOT NULL,                                       -- argon2id
    display_name    text NOT NULL,                                       -- as registered; the profile's is the truth
    roles           text[] NOT NULL DEFAULT '{}',
    generation      integer NOT NULL DEFAULT 0,  -- access tokens of an earlier one are void: roles, suspension
    suspended_at    timestamptz(3),
    suspended_until timestamptz(3),              -- null while suspended: for good
    created_at      timestamptz(3) NOT NULL
);

CREATE TABLE sessions (
    session_id   uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    user_agent   text NOT NULL,
    address      text NOT NULL,
    created_at   timestamptz(3) NOT NULL,
    last_used_at timestamptz(3) NOT NULL,  -- of its refresh token
    expires_at   timestamptz(3) NOT NULL,  -- its newest refresh token's
    ended_at     timestamptz(3)
);
CREATE INDEX sessions_user_live ON sessions (user_id, session_id DESC) WHERE ended_at IS NULL;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_over ON sessions (least(expires_at, ended_at));

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,      -- SHA-256 of the token
    token_id   uuid NOT NULL,          -- jti of the access token given out with it
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz(3) NOT NULL,
    expires_at timestamptz(3) NOT NULL,
    used_at    timestamptz(3),
    used_key   bytea                   -- SHA-256 of the Idempotency-Key it was used with
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

CREATE TABLE revocations (
    revocation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       uuid NOT NULL,
    session_id    uuid,                        -- null: all access tokens of a generation before this one
    generation    integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revocations_time ON revocations (created_at, revocation_id);

CREATE TABLE audit_log (
    audit_id  bigint PRIMARY KEY,  -- 1, 2, 3 ... without a gap
    at        timestamptz(3) NOT NULL,
    actor     text NOT NULL,       -- a user id, or the name of an administrator
    act       text NOT NULL,
    target    text NOT NULL,       -- "user:<id>", "session:<id>" ...
    reason    text NOT NULL,
    details   text NOT NULL,       -- a JSON object, hashed as it stands
    previous  bytea NOT NULL,      -- the hash of the row before
    hash      bytea NOT NULL       -- SHA-256 over previous and all columns above
);
CREATE INDEX audit_log_target ON audit_log (target, audit_id);
CREATE INDEX audit_log_actor ON audit_log (actor, audit_id);
