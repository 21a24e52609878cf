//! The layout of `stepbus.yaml`.

use super::format;
use super::shape::{Field, Inline, Object, Section, Shape, Text};

pub(super) const EVENT: &[&str] = &["event"];
const RESPONSE: &[&str] = &["response"];
const SCHEDULE_VARIABLES: &[&str] = &["schedule"];
const REQUEST: &[&str] = &["request"];
const COMPARED: &[&str] = &["payload", "event"];
const PAYLOAD: &[&str] = &["payload", "params", "id"];

const fn required(name: &'static str, about: &'static str, shape: Shape) -> Field {
    Field { name, about, required: true, shape }
}

const fn optional(name: &'static str, about: &'static str, shape: Shape) -> Field {
    Field { name, about, required: false, shape }
}

const fn object(fields: &'static [Field]) -> Object {
    Object { fields, one_of: &[] }
}

const DURATION: &str = r"\s*([0-9]+\s*(ms|s|m|min|h|d|w)\s*)+";

macro_rules! text {
    ($name:ident, $check:expr, $pattern:expr, $example:literal) => {
        static $name: Text =
            Text { secret: false, check: $check, pattern: $pattern, example: $example };
    };
}

text!(ANY, format::any, "", "");
text!(SOME, format::some, "", "");
text!(NAME, format::name, format::NAME_PATTERN, "");
text!(URL, format::url, "https?://.+", "https://crm.example/products/{sku}");
text!(MAILBOX, format::mailbox, "", "Shop <shop@example.com>");
text!(PATH, format::some, "", "logs/events.jsonl");
text!(PEM, format::some, "", "certificates/company.pem");
text!(FUNCTION_URL, format::url, "https?://.+", "http://127.0.0.1:9000/price");
text!(S3_URL, format::url, "https?://.+", "http://127.0.0.1:9000");
text!(METHOD, format::method, "[A-Z]+", "PUT");
text!(RATE, format::is_rate, "", "300/s");
text!(SPAN, format::is_duration, DURATION, "5s");
text!(SECONDS, format::is_seconds, DURATION, "30d");
text!(START, format::is_start, "", "24h");
text!(BYTES, format::is_amount, "", "20GiB");
text!(PLACE, format::is_place, "", "meta.updated_at");
text!(WHEN, format::some, r"(rate|cron|at)\(.*\)", "rate(5 minutes)");
text!(ROUTE, format::is_route, r"(GET|POST|PUT|PATCH|DELETE)\s+/.*", "POST /sync/{container}");
static SECRET: Text =
    Text { secret: true, check: format::some, pattern: "", example: "${CRM_SECRET}" };

const CONCURRENCY: Field =
    optional("concurrency", "Calls in flight at once.", Shape::Count(1, 100_000));
const RATE_FIELD: Field =
    optional("rate", "Calls in a span of time: 300/s, 10/min, `5/s burst 20`.", Shape::Text(&RATE));

pub(super) static PROJECT: Object = object(&[
    required("name", "The project's name.", Shape::Text(&NAME)),
    optional("limits", "Which bounds hold.", Shape::Object(&LIMITS)),
    optional(
        "connections",
        "Systems that are called: how to log in, and how much they bear.",
        Shape::Named(&Shape::Object(&CONNECTION)),
    ),
    optional(
        "destinations",
        "Where deliveries go: one call, or an upsert of up to three.",
        Shape::Named(&Shape::Object(&DESTINATION)),
    ),
    optional(
        "functions",
        "What workflows and subscriptions call as Lambda functions: HTTP services.",
        Shape::Named(&Shape::Object(&FUNCTION)),
    ),
    optional(
        "buckets",
        "Object storage that maps read their items from and write their results to.",
        Shape::Named(&Shape::Object(&BUCKET)),
    ),
    optional("buses", "Event buses.", Shape::Named(&Shape::Object(&BUS))),
    optional(
        "archives",
        "Events kept beyond the retention of their bus, to be replayed.",
        Shape::Named(&Shape::Object(&ARCHIVE)),
    ),
    optional("storage", "How much disk the records may take.", Shape::Object(&STORAGE)),
    optional(
        "queues",
        "Queues to send to and to receive from; with this section, dead-letter queues stand in it \
         too.",
        Shape::Named(&Shape::Object(&QUEUE)),
    ),
    optional(
        "subscriptions",
        "What becomes of events: bus, pattern, target.",
        Shape::Named(&Shape::Object(&SUBSCRIPTION)),
    ),
    optional(
        "workflows",
        "Workflows in the States Language, each a path or an object.",
        Shape::Named(&Shape::FileOr("workflows/sync.asl.yaml", Inline::Object(&WORKFLOW))),
    ),
    optional(
        "endpoints",
        "Routes of the public listener, each of which publishes an event.",
        Shape::Named(&Shape::Object(&ENDPOINT)),
    ),
    optional(
        "schedules",
        "What happens at certain times: an event, an execution or a message.",
        Shape::Named(&Shape::Object(&SCHEDULE)),
    ),
]);

static LIMITS: Object = object(&[
    optional(
        "profile",
        "`default` is generous; `aws` holds AWS's own quotas.",
        Shape::Word(&["default", "aws"]),
    ),
    optional(
        "subscription_pending",
        "Live deliveries of one subscription, 10,000 by default; it reads further matches from the \
         log once there is room.",
        Shape::Count(1, 10_000_000),
    ),
]);

static CONNECTION: Object = object(&[
    optional("smtp", "A mail server, and no host of HTTP.", Shape::Object(&SMTP)),
    optional(
        "auth",
        "How to log in; without it, calls carry no credentials.",
        Shape::Object(&AUTH),
    ),
    CONCURRENCY,
    RATE_FIELD,
    optional("headers", "Sent with every call.", Shape::Params),
    optional("query", "Query parameters of every call.", Shape::Params),
]);

static AUTH: Object = Object {
    fields: &[
        optional("basic", "HTTP Basic.", Shape::Object(&BASIC)),
        optional("api_key", "A key in a header or in the query.", Shape::Object(&API_KEY)),
        optional("oauth", "OAuth 2 client credentials.", Shape::Object(&OAUTH)),
    ],
    one_of: &["basic", "api_key", "oauth"],
};

static BASIC: Object = object(&[
    required("username", "The user.", Shape::Text(&SOME)),
    required("password", "The password, as `${VAR}` or `${file:PATH}`.", Shape::Text(&SECRET)),
]);

static API_KEY: Object = Object {
    fields: &[
        optional("header", "The header that carries the key.", Shape::Text(&SOME)),
        optional("query", "The query parameter that carries the key.", Shape::Text(&SOME)),
        required("value", "The key, as `${VAR}` or `${file:PATH}`.", Shape::Text(&SECRET)),
    ],
    one_of: &["header", "query"],
};

static OAUTH: Object = object(&[
    required("token_url", "Where tokens come from.", Shape::Text(&URL)),
    required("client_id", "The client.", Shape::Text(&SOME)),
    required(
        "client_secret",
        "The client's secret, as `${VAR}` or `${file:PATH}`.",
        Shape::Text(&SECRET),
    ),
    optional("scopes", "Scopes to ask for.", Shape::List(&Shape::Text(&SOME))),
    optional("params", "Further members of the token request, as `audience`.", Shape::Params),
    optional(
        "style",
        "How the token endpoint wants to be asked; `form` by default.",
        Shape::Word(&["form", "basic", "json"]),
    ),
]);

static DESTINATION: Object = Object {
    fields: &[
        optional(
            "connection",
            "The connection whose credentials it uses.",
            Shape::Name(Section::Connections),
        ),
        optional("method", "The call's method; POST by default.", Shape::Text(&METHOD)),
        optional(
            "url",
            "The call's URL; `{field}` takes the payload's field of that name.",
            Shape::Text(&URL),
        ),
        optional("headers", "The call's headers.", Shape::Params),
        optional("query", "The call's query parameters.", Shape::Params),
        optional(
            "body",
            "The call's body, a template over `$payload`, `$params` and `$id`; the payload by \
             default.",
            Shape::Template(PAYLOAD),
        ),
        optional("upsert", "Find, then create or update.", Shape::Object(&UPSERT)),
        RATE_FIELD,
        CONCURRENCY,
        optional("timeout", "Of one call, to the last byte of its answer.", Shape::Text(&SPAN)),
        optional(
            "outcome",
            "What answers mean, in JSONata over `$response`.",
            Shape::Object(&OUTCOME),
        ),
    ],
    one_of: &["url", "upsert"],
};

static FUNCTION: Object = object(&[
    required("url", "Where the payload is POSTed as JSON.", Shape::Text(&FUNCTION_URL)),
    optional(
        "connection",
        "The connection whose credentials it uses.",
        Shape::Name(Section::Connections),
    ),
    optional("timeout", "Of one call, to the last byte of its answer.", Shape::Text(&SPAN)),
]);

static CALL: Object = object(&[
    required("method", "The call's method.", Shape::Text(&METHOD)),
    required(
        "url",
        "`{field}` takes the payload's field of that name, `{id}` the remote id.",
        Shape::Text(&URL),
    ),
    optional("headers", "The call's headers.", Shape::Params),
    optional("query", "The call's query parameters.", Shape::Params),
    optional("body", "A template; the payload by default.", Shape::Template(PAYLOAD)),
]);

static UPSERT: Object = object(&[
    required("find", "Looks for what may be there already.", Shape::Object(&CALL)),
    required("create", "Makes what is not there.", Shape::Object(&CALL)),
    required("update", "Changes what is there.", Shape::Object(&CALL)),
    required("id", "The remote id in the answer to `find`.", Shape::Expression(RESPONSE)),
    optional(
        "create_id",
        "The remote id in the answer to `create`; by default `id`, then `$response.body.id`.",
        Shape::Expression(RESPONSE),
    ),
    optional(
        "missing",
        "True of an answer that says that the thing is not there.",
        Shape::Expression(RESPONSE),
    ),
]);

static OUTCOME: Object = object(&[
    optional("success", "True of an answer that is a success.", Shape::Expression(RESPONSE)),
    optional("retryable", "True of one to be tried again.", Shape::Expression(RESPONSE)),
    optional(
        "throttled",
        "True of one that asks for patience, or the seconds to wait.",
        Shape::Expression(RESPONSE),
    ),
    optional("permanent", "True of one that no retry will change.", Shape::Expression(RESPONSE)),
    optional(
        "items",
        "What of a batch failed although the call did not: places from 0, or objects with `index`, \
         `class` (retryable, permanent) and `message`.",
        Shape::Expression(RESPONSE),
    ),
    optional("login", "True of one that asks to log in again.", Shape::Expression(RESPONSE)),
]);

static BUCKET: Object = Object {
    fields: &[
        optional(
            "path",
            "A folder, seen from the project file; keys are paths below it.",
            Shape::Text(&SOME),
        ),
        optional("s3", "A bucket of S3 or a service like it.", Shape::Object(&S3)),
    ],
    one_of: &["path", "s3"],
};

static S3: Object = object(&[
    optional("endpoint", "Where the service is; AWS's own by default.", Shape::Text(&S3_URL)),
    optional("region", "Its region; us-east-1 by default.", Shape::Text(&SOME)),
    optional("bucket", "The bucket's name there, when it is another one.", Shape::Text(&SOME)),
    optional(
        "access_key",
        "The access key's id; without keys, requests are not signed.",
        Shape::Text(&SECRET),
    ),
    optional("secret_key", "The secret access key.", Shape::Text(&SECRET)),
    optional("session_token", "The token of a temporary key.", Shape::Text(&SECRET)),
    optional(
        "style",
        "Where the bucket's name goes: `path` (by default at an `endpoint`) or `virtual`, into the \
         host's name.",
        Shape::Word(&["path", "virtual"]),
    ),
]);

static BUS: Object = object(&[
    optional("retention", "How long events are kept; 30d by default.", Shape::Text(&SECONDS)),
    optional(
        "deduplicate",
        "`content`: an event of the same content within 5 minutes is the first one.",
        Shape::Word(&["content"]),
    ),
]);

static ARCHIVE: Object = object(&[
    required("bus", "The bus whose events it keeps.", Shape::Name(Section::Buses)),
    required(
        "pattern",
        "Which of them: the event pattern, or the path of a file that holds it.",
        Shape::FileOr("patterns/fetched.json", Inline::Foreign),
    ),
    optional(
        "retention",
        "How long it keeps them, beyond the retention of the bus; for ever by default.",
        Shape::Text(&SECONDS),
    ),
]);

static STORAGE: Object = object(&[
    optional(
        "max_bytes",
        "How much disk the records may take, as 20GiB; all there is by default.",
        Shape::Text(&BYTES),
    ),
    optional(
        "when_full",
        "`drop_oldest`: the oldest events that nothing needs go before their retention, by \
         default; `refuse`: nothing more is accepted.",
        Shape::Word(&["drop_oldest", "refuse"]),
    ),
]);

static QUEUE: Object = object(&[
    optional(
        "visibility_timeout",
        "How long a received message is hidden from others; 30s by default.",
        Shape::Text(&SECONDS),
    ),
    optional("delay", "How long a sent message is hidden at first.", Shape::Text(&SECONDS)),
    optional(
        "retention",
        "How long messages are kept; without it, until they are deleted.",
        Shape::Text(&SECONDS),
    ),
    optional(
        "dead_letter",
        "The queue for messages that were received `max_receive_count` times and came again.",
        Shape::Name(Section::Queues),
    ),
    optional(
        "max_receive_count",
        "How often a message is received before it is a dead letter.",
        Shape::Count(1, 1_000),
    ),
]);

static SUBSCRIPTION: Object = object(&[
    required("bus", "The bus it listens to.", Shape::Name(Section::Buses)),
    required(
        "pattern",
        "The event pattern, or the path of a file that holds it.",
        Shape::FileOr("patterns/fetched.json", Inline::Foreign),
    ),
    optional(
        "key",
        "The business key, as `{% $event.detail.sku %}`: for order, single flight, unchanged \
         detection and search.",
        Shape::Expression(EVENT),
    ),
    optional(
        "transform",
        "What is sent: the path of a JSONata file, or a template over `$event`; the whole event \
         by default.",
        Shape::FileOr("mappings/crm.jsonata", Inline::Template(EVENT)),
    ),
    optional(
        "input",
        "JSON text that is sent for every event, as PutTargets' Input; instead of `transform`.",
        Shape::Plain("'{\"reason\": \"changed\"}'"),
    ),
    optional(
        "input_path",
        "The part of the event that is sent, as PutTargets' InputPath; instead of `transform`.",
        Shape::Plain("$.detail"),
    ),
    optional(
        "input_transformer",
        "A template of what is sent, as PutTargets' InputTransformer; instead of `transform`.",
        Shape::Object(&INPUT_TRANSFORMER),
    ),
    optional(
        "path_parameters",
        "What `{name}` in the destination's URL stands for: a text, a path as `$.detail.sku`, or \
         an expression over `$event`.",
        Shape::Values(EVENT),
    ),
    optional(
        "header_parameters",
        "Headers of the call, beside the destination's; their values as in `path_parameters`.",
        Shape::Values(EVENT),
    ),
    optional(
        "query_parameters",
        "Query parameters of the call, beside the destination's; their values as in \
         `path_parameters`.",
        Shape::Values(EVENT),
    ),
    required("target", "Where it goes.", Shape::Object(&TARGET)),
    optional(
        "order",
        "`fifo` keeps the order within a key; `unordered` by default.",
        Shape::Word(&["unordered", "fifo"]),
    ),
    optional(
        "on_dead_letter",
        "What a key does when one of its deliveries is dead-lettered; `advance` by default.",
        Shape::Word(&["advance", "block"]),
    ),
    optional(
        "skip_unchanged",
        "Whether a payload equal to the last one delivered for its key is left out, and what of \
         it counts.",
        Shape::FlagOr(&SKIP_UNCHANGED),
    ),
    optional(
        "version",
        "What orders two payloads of one key; an older one is stale.",
        Shape::Expression(EVENT),
    ),
    optional("retry", "How long and how often a delivery is tried.", Shape::Object(&RETRY)),
    optional(
        "batch",
        "Several deliveries go in one call, whose body is an array; for a destination or a function.",
        Shape::Object(&BATCH),
    ),
    optional(
        "dead_letter",
        "The queue for what could not be delivered; without one it is discarded.",
        Shape::Text(&NAME),
    ),
    optional("enabled", "False lets events pass by; true by default.", Shape::Flag),
    optional(
        "start",
        "Where in the log a new subscription begins: now, earliest, a time, or so long ago.",
        Shape::Text(&START),
    ),
]);

static TARGET: Object = Object {
    fields: &[
        optional("workflow", "The workflow that is started.", Shape::Name(Section::Workflows)),
        optional(
            "destination",
            "The destination that is called.",
            Shape::Name(Section::Destinations),
        ),
        optional(
            "function",
            "The function that is handed the payload.",
            Shape::Name(Section::Functions),
        ),
        optional("bus", "Another bus, where the event goes on.", Shape::Name(Section::Buses)),
        optional("queue", "The queue that gets a message.", Shape::Text(&NAME)),
        optional("log", "A line of JSON for each event.", Shape::Object(&LOG)),
        optional("mail", "A mail for each event.", Shape::Object(&MAIL)),
    ],
    one_of: &["workflow", "destination", "function", "bus", "queue", "log", "mail"],
};

static SKIP_UNCHANGED: Object = object(&[
    optional(
        "ignore",
        "Places of the payload that do not count: `meta.updated_at`, `prices.*.stamp`.",
        Shape::List(&Shape::Text(&PLACE)),
    ),
    optional(
        "by",
        "What is compared, a template over `$payload` and `$event`; the payload by default.",
        Shape::Template(COMPARED),
    ),
]);

static MAIL: Object = object(&[
    required("connection", "The connection to the mail server.", Shape::Name(Section::Connections)),
    required("from", "Who sends it: `Shop <shop@example.com>`.", Shape::Text(&MAILBOX)),
    required(
        "to",
        "Who gets it: a text or a list of them, or a template over `$event`.",
        Shape::Template(EVENT),
    ),
    optional("cc", "Who else gets it.", Shape::Template(EVENT)),
    optional("reply_to", "Whom to answer.", Shape::Text(&MAILBOX)),
    required("subject", "Its subject, a template over `$event`.", Shape::Template(EVENT)),
    optional(
        "body",
        "Its text, a template over `$event`; what the subscription sends by default.",
        Shape::Template(EVENT),
    ),
]);

static SMTP: Object = object(&[
    required("host", "The mail server.", Shape::Text(&SOME)),
    optional(
        "port",
        "587 by default, 465 with `implicit`, 25 with `none`.",
        Shape::Count(1, 65_535),
    ),
    optional(
        "tls",
        "`starttls` by default; `implicit` from the first byte; `none` for a server on this machine.",
        Shape::Word(&["starttls", "implicit", "none"]),
    ),
    optional(
        "ca",
        "A PEM file with the authority of the server's certificate, beside those that this machine \
         trusts.",
        Shape::Text(&PEM),
    ),
]);

static LOG: Object = object(&[
    optional(
        "file",
        "The file that lines are added to; the server's own log without one.",
        Shape::Text(&PATH),
    ),
    optional("rotate", "When the file is put aside.", Shape::Object(&ROTATE)),
    optional(
        "trace",
        "Whether the server's own log has the lines; false by default where there is a file.",
        Shape::Flag,
    ),
]);

static ROTATE: Object = object(&[
    optional("size", "The size at which a new file is begun; 64MiB by default.", Shape::Size),
    optional("keep", "How many older files are kept; 5 by default.", Shape::Count(0, 1_000)),
]);

static INPUT_TRANSFORMER: Object = object(&[
    optional(
        "paths",
        "InputPathsMap: names, and the paths into the event that they stand for.",
        Shape::Values(&[]),
    ),
    required(
        "template",
        "InputTemplate: an object, or quoted lines, in which `<name>` stands for a value.",
        Shape::Plain("'{\"sku\": <sku>}'"),
    ),
]);

static BATCH: Object = object(&[
    required("size", "Payloads in one call, at most.", Shape::Count(1, 1_000)),
    optional(
        "window",
        "How long the first one waits for others; 1s by default.",
        Shape::Text(&SPAN),
    ),
    optional("max_bytes", "Bytes of a call's body, at most; 1MiB by default.", Shape::Size),
]);

static RETRY: Object = object(&[
    optional("max_age", "Older deliveries are given up; 24h by default.", Shape::Text(&SECONDS)),
    optional(
        "max_attempts",
        "Attempts after the first; 185 by default, as many as EventBridge allows.",
        Shape::Count(0, 185),
    ),
]);

static WORKFLOW: Object = object(&[
    required(
        "definition",
        "The path of the definition, JSON or YAML, or the definition itself.",
        Shape::FileOr("workflows/sync.asl.yaml", Inline::Foreign),
    ),
    optional("type", "STANDARD by default.", Shape::Word(&["STANDARD", "EXPRESS"])),
    optional(
        "in_flight_at_crash",
        "What becomes of calls that were in flight when the process ended.",
        Shape::Object(&IN_FLIGHT_AT_CRASH),
    ),
]);

static IN_FLIGHT_AT_CRASH: Object = object(&[
    optional(
        "default",
        "`resend`, under the same Idempotency-Key, or `fail` with Stepbus.InFlightAtCrash; `resend` by default.",
        Shape::Word(&["resend", "fail"]),
    ),
    optional("fail", "Task states whose calls fail.", Shape::List(&Shape::Plain("Charge"))),
    optional(
        "resend",
        "Task states whose calls are sent again.",
        Shape::List(&Shape::Plain("LookUp")),
    ),
]);

static SCHEDULE: Object = object(&[
    required(
        "schedule",
        "When: rate(5 minutes), cron(0 2 * * ? *) or at(2026-12-01T10:00:00).",
        Shape::Text(&WHEN),
    ),
    optional(
        "timezone",
        "In which it is read, one of IANA's names; UTC by default.",
        Shape::Text(&SOME),
    ),
    optional(
        "flexible_window",
        "It fires at some moment of this span after its time.",
        Shape::Text(&SECONDS),
    ),
    optional("start", "Not before this moment, in RFC 3339.", Shape::Text(&SOME)),
    optional("end", "Not after this moment, in RFC 3339.", Shape::Text(&SOME)),
    optional(
        "missed",
        "What becomes of times that passed while the server was down; `fire_once` by default.",
        Shape::Word(&["fire_once", "skip"]),
    ),
    required("target", "What it brings about.", Shape::Object(&SCHEDULE_TARGET)),
    optional(
        "input",
        "The event's detail, the execution's input or the message's body, a template over \
         `$schedule`; an empty object by default.",
        Shape::Template(SCHEDULE_VARIABLES),
    ),
    optional("retry", "How long and how often a time that failed is tried.", Shape::Object(&RETRY)),
    optional(
        "dead_letter",
        "The queue for what failed for good; without one it is logged.",
        Shape::Text(&NAME),
    ),
    optional("enabled", "False lets its times pass by; true by default.", Shape::Flag),
    optional(
        "after_completion",
        "What becomes of it once it fires no more; `keep` by default.",
        Shape::Word(&["keep", "delete"]),
    ),
    optional(
        "force",
        "True has its runs send what is unchanged as well; false by default.",
        Shape::Flag,
    ),
]);

static SCHEDULE_TARGET: Object = Object {
    fields: &[
        optional("event", "An event that is published.", Shape::Object(&SCHEDULE_EVENT)),
        optional("workflow", "A workflow that is started.", Shape::Name(Section::Workflows)),
        optional("queue", "A queue that gets a message.", Shape::Text(&NAME)),
    ],
    one_of: &["event", "workflow", "queue"],
};

static SCHEDULE_EVENT: Object = object(&[
    required("bus", "The bus.", Shape::Name(Section::Buses)),
    required("detail-type", "The event's type.", Shape::Text(&SOME)),
    optional("source", "The event's source; the project's name by default.", Shape::Text(&SOME)),
]);

static ENDPOINT: Object = object(&[
    required("route", "Method and path, with parameters in braces.", Shape::Text(&ROUTE)),
    required("auth", "Who may call.", Shape::Object(&ENDPOINT_AUTH)),
    optional(
        "overlap",
        "What a call meets while a run of the same path is open; `allow` by default.",
        Shape::Word(&["allow", "refuse"]),
    ),
    optional(
        "priority",
        "What the runs it starts get beside others that wait for the same system; `normal` by \
         default.",
        Shape::Word(&["low", "normal", "high"]),
    ),
    optional(
        "params",
        "The values a path parameter may take; any other is answered with 404.",
        Shape::Named(&Shape::List(&Shape::Text(&ANY))),
    ),
    optional("max_body", "The largest body, as 64KiB.", Shape::Size),
    optional(
        "force",
        "Whether the run sends what is unchanged as well: true, false or a template over \
         `$request`; by default when the query says `force=true`.",
        Shape::Template(REQUEST),
    ),
    required("event", "What is published.", Shape::Object(&ENDPOINT_EVENT)),
]);

static ENDPOINT_AUTH: Object = object(&[required(
    "api_key",
    "The key callers send as `X-Api-Key`, from `${VAR}` or `${file:PATH}`.",
    Shape::Text(&SECRET),
)]);

static ENDPOINT_EVENT: Object = object(&[
    required("bus", "The bus.", Shape::Name(Section::Buses)),
    required("detail-type", "The event's type.", Shape::Text(&SOME)),
    optional("source", "The event's source; the project's name by default.", Shape::Text(&SOME)),
    optional(
        "detail",
        "The event's detail, a template over `$request` (path, query, headers, body); empty by \
         default.",
        Shape::Template(REQUEST),
    ),
]);
