//! The texts, one for each code, in the order of `base::error`: what it means; how it comes about; what to do.
//!
//! For whoever met the code and looks it up: whole sentences, nothing about the inside of the service. Words in
//! backticks are shown as code.

use super::{Kind, Member, Text};
use crate::base::Code;

macro_rules! texts {
    ($($code:ident: $meaning:literal $cause:literal $remedy:literal $([$($member:expr),* $(,)?])?;)*) => {
        /// The text of `code`.
        pub(in crate::http) fn of(code: Code) -> Text {
            match code {
                $(Code::$code => Text {
                    meaning: $meaning,
                    cause: $cause,
                    remedy: $remedy,
                    members: const { &[$($($member),*)?] },
                },)*
            }
        }
    };
}

texts! {
    InvalidRequest:
        "The service could not make sense of the request, and did nothing."
        "The body is not a JSON object, a field or parameter is missing, has the wrong type, or is not known here, or an \
         id in the path is not one."
        "Read `detail` and `errors`: every fault is listed with a pointer to its place. Correct them all and send the \
         request again; the same request will always be refused."
        [Member::sometimes("errors", Kind::Faults, "Each fault: `pointer` is a JSON pointer into the body, or `?name` \
            for a parameter of the query.")];
    InvalidDigest:
        "A digest that the request declares cannot be read, so the bytes could not be verified and were not taken."
        "`Content-Digest` is not of the form `sha-256=:BASE64:`, names only algorithms that are unknown here, has a value \
         of the wrong length, or two digests contradict each other."
        "Send `sha-256`, `sha-512` or `crc32c` in `Content-Digest` (RFC 9530), or the base64 of the 8 big-endian bytes in \
         `X-Checksum-Crc64nvme`; or leave the header out where digests are not required.";
    ChunkOutOfRange:
        "The upload has no chunk of this index."
        "Indexes begin at 0 and end before `chunk_count`. Often the client cut the file by another chunk size than the \
         one that the server decided."
        "Cut the file by the `chunk_size` that the upload tells. An upload of an empty file has no chunks at all: \
         finalize it right away."
        [Member::always("chunk_count", Kind::Count, "How many chunks the upload has.")];
    Unauthenticated:
        "The service answers this only to those who show a valid key."
        "The request has no key, more than one, or one that is mistyped, revoked or past its end. Which of these it is \
         nobody is told."
        "Send the key as `Authorization: Bearer <key>`. Whoever operates the service makes one with `cifra key create` \
         or `POST /api/keys`.";
    Forbidden:
        "The service knows who asks, and they may not do this."
        "The key has not the scope that the request needs, or is of another tenant, or an operator's is needed. Without \
         keys (`auth.mode: open`): the request names a host that is not this machine, or a foreign web page sent it."
        "Read `detail`; use a key with that scope, or ask whoever operates the service for one."
        [Member::sometimes("scope", Kind::Text, "The scope that the key would have to have."),
         Member::sometimes("max_files", Kind::Count, "For how many files the upload token was.")];
    NotFound:
        "There is nothing at this path."
        "The path has a typing error, a missing or doubled slash, or belongs to another version of the service."
        "Compare it with the list of operations at `/docs`. The API is under `/api`.";
    TenantNotFound:
        "There is no tenant of this name."
        "An operator named it in `X-Cifra-Tenant`; it was never made, or the name has a typing error."
        "List the tenants with `GET /api/tenants`, or make this one with `POST /api/tenants`.";
    KeyNotFound:
        "There is no such key, as far as this client may know."
        "It never existed, or it belongs to another tenant or to an operator."
        "List the keys that you may revoke with `GET /api/keys`.";
    UploadNotFound:
        "There is no such upload, as far as this client may know."
        "It never existed, it belongs to another tenant, or it ended more than a day ago and has been forgotten. A \
         completed upload is forgotten once its file is deleted."
        "Check the id. If the upload is gone, begin a new one with `POST /api/uploads`.";
    FileNotFound:
        "There is no such file, as far as this client may know."
        "It never existed, it was deleted, it belongs to another tenant, or its upload has not been finalized yet."
        "Check the id; look at `GET /api/uploads/{id}` if the file may still be on its way.";
    EntityNotFound:
        "The service knows no records of this kind."
        "The name has a typing error or other capitals, or the service's configuration (`entities`) has no such name."
        "Take one of `entities`. Whoever operates the service adds a table with a few lines of configuration."
        [Member::always("entities", Kind::Texts, "The names that there are, for this client.")];
    RecordNotFound:
        "There is no such record, as far as this client may know."
        "No row has this key, it was removed, or it belongs to another tenant."
        "Check the id; `GET /api/entities/{entity}` lists the records that there are.";
    UnknownThumbnailSize:
        "The service makes no thumbnails of this name."
        "Sizes have names, which the service's configuration gives them (`thumbnails.sizes`); this one is not among them."
        "Take one of `sizes`, or the addresses in the file's `thumbnails`."
        [Member::always("sizes", Kind::Texts, "The names that there are, the smallest first.")];
    MethodNotAllowed:
        "The path exists, but not with this method."
        "GET was sent where POST is expected, or the like."
        "The `Allow` header lists the methods that the path has.";
    RequestTimeout:
        "The request came too slowly; the service stopped waiting and closed the connection. Nothing of it counts."
        "No bytes of the body arrived for longer than the service waits: the network stalled, or the client stopped \
         sending."
        "Send the request again. If it happens often, send smaller chunks, or raise `server.body_idle_timeout`.";
    TenantExists:
        "A tenant of this name was made before, and tenants are never removed."
        "The request was repeated, or somebody else chose the same name."
        "Use the tenant as it is, or choose another name.";
    ChunkConflict:
        "This chunk was accepted before, with other bytes. The accepted ones stay."
        "The file changed while it was uploaded, two files are being sent into one upload, or a retry cut the file \
         differently."
        "If the accepted bytes are right, go on. If the new ones are, send them with `?replace=true`."
        [Member::always("accepted", Kind::Text, "The checksum of the chunk that was accepted."),
         Member::always("received", Kind::Text, "The checksum of the bytes of this request.")];
    ChunkBusy:
        "Another request is sending this very chunk. One of the two wins; this one was not read."
        "A retry began before the first attempt had ended, often because a connection broke without the server noticing \
         it yet."
        "Wait as long as `Retry-After` says, then look at the upload, or just send the chunk again: the same bytes are \
         answered with the receipt.";
    UploadIncomplete:
        "The upload cannot become a file yet: chunks are missing."
        "Not all of them were sent, or some were refused or withdrawn."
        "Send those that `missing` lists, then finalize again."
        [Member::always("missing", Kind::Ranges, "The missing chunks, at most 1,000 ranges of them."),
         Member::always("missing_count", Kind::Count, "How many are missing.")];
    IdempotencyConflict:
        "The `Idempotency-Key` belongs to another request, or to this one, which is still being served."
        "Within 24 hours the key came with another path, query, type or body; or before its first request was answered."
        "With `Retry-After`, ask again: the answer will be that of the first. Without, take a new key.";
    UploadFinalized:
        "The upload takes no more changes: it is being finalized, is sealed, or has become a file."
        "A chunk or an abort came after finalize."
        "Ask for the upload's state. Once it is completed it is the file of the same id; delete that to get rid of it. \
         One that is `sealed` did not have the digest that was declared, or is of another type than its upload token \
         allows, and its chunks can't be replaced any more: finalize it with the digest that its bytes have, or delete it.";
    UploadGone:
        "The upload has ended without becoming a file; its bytes are gone."
        "Somebody aborted it, or nothing was sent for longer than an upload may rest, or it grew too old, or the storage \
         has dropped what was sent, which `detail` says."
        "Begin a new one with `POST /api/uploads`."
        [Member::always("state", Kind::Text, "`aborted` or `expired`.")];
    PreconditionFailed:
        "A condition that the request made (`If-Match` and its kin) does not hold, so nothing was done."
        "What the client knew of the file is out of date: it changed since."
        "Get it again, decide anew, and send the request with the current `ETag`."
        [Member::always("etag", Kind::Text, "The current one.")];
    FileTooLarge:
        "The file is larger than this service takes."
        "Its size is over `file_upload.max_file_size`, or over what the storage behind it can hold."
        "Send a smaller file, or ask whoever operates the service to raise the limit."
        [Member::always("max_bytes", Kind::Count, "The largest size that is taken.")];
    ImageTooLarge:
        "The picture has no thumbnails, because it is too large to be decoded here."
        "It has more pixels than `thumbnails.max_pixels`, or would take more memory than `thumbnails.memory`. The file \
         itself is stored and whole."
        "Send a smaller picture, or ask whoever operates the service to raise the limits and to make them again \
         (`cifra thumbnails rebuild`)."
        [Member::always("reason", Kind::Text, "`too_large`."),
         Member::sometimes("pixels", Kind::Count, "What the picture has, where its headers tell."),
         Member::always("max_pixels", Kind::Count, "What a picture may have.")];
    QuotaExceeded:
        "The tenant would have more bytes than it may have; nothing of the request was kept."
        "Files count with their size, and open uploads with the size that they announced, whether its bytes came or not. \
         The limit is `limits.tenant_max_bytes`."
        "Delete files, finish or delete open uploads (`GET /api/usage` shows what there is), or ask whoever operates the \
         service for more."
        [Member::always("limit_bytes", Kind::Count, "What the tenant may have."),
         Member::always("used_bytes", Kind::Count, "What is stored or announced already.")];
    UnsupportedMediaType:
        "The body is of a kind that is not taken here."
        "JSON was expected and something else announced, or the body came with a `Content-Encoding`: bytes are stored as \
         they come, so nothing is unpacked. Or the upload token is for files of other kinds."
        "Send JSON with `Content-Type: application/json`, and bytes without `Content-Encoding`."
        [Member::sometimes("content_type", Kind::Text, "What the file's first bytes say that it is."),
         Member::sometimes("allowed", Kind::Text, "What the upload token is for: media types, with commas between them.")];
    NotAnImage:
        "The file has no thumbnails, and will have none."
        "It is no picture, or one of a format that is not decoded here, such as HEIC, AVIF or SVG."
        "Ask for thumbnails only of files whose record has some, in `thumbnails`; show the content instead."
        [Member::always("reason", Kind::Text, "`not_an_image` or `unsupported_format`.")];
    RangeNotSatisfiable:
        "The requested range lies outside of the file."
        "The client believes that the file is longer than it is."
        "`Content-Range` and `size` tell the file's real size; ask for a range within it."
        [Member::always("size", Kind::Count, "Bytes of the whole file.")];
    ChunkSizeMismatch:
        "The body has not as many bytes as this chunk must have; nothing of it counts."
        "Every chunk but the last has exactly `chunk_size` bytes, and the last one has the rest. The file was cut \
         differently, changed its length, or the connection broke."
        "Send exactly the chunk's bytes. If the file's length changed, begin a new upload."
        [Member::always("expected_size", Kind::Count, "Bytes that the chunk must have."),
         Member::always("received_size", Kind::Count, "Bytes that came, or were announced; if too many came, at least \
            this many.")];
    ChecksumMismatch:
        "The bytes are not those whose digest was declared; they don't count."
        "They were damaged on their way, the file changed while it was read, or the digest is of something else."
        "Compute the digest again and send the bytes again. At finalize: if `chunks_replaceable` is true, send the wrong \
         chunks with `?replace=true` and finalize again; otherwise the upload is `sealed`: if its bytes are right after \
         all, finalize it with their digest, else delete it and begin a new upload."
        [Member::always("algorithm", Kind::Text, "Which digest differs."),
         Member::always("expected", Kind::Text, "What was declared."),
         Member::always("actual", Kind::Text, "What the bytes have."),
         Member::sometimes("chunks_replaceable", Kind::Flag, "At finalize: whether chunks can still be replaced.")];
    ImageUndecodable:
        "The picture has no thumbnails, because it cannot be decoded."
        "The file is damaged or was cut too short to show anything, or takes longer to decode than a picture may. What was \
         stored is what was sent. It is not tried again."
        "Look at the file (`GET /api/files/{id}/content`); upload it again if it is broken."
        [Member::always("reason", Kind::Text, "`corrupt`, `timed_out` or `crashed`.")];
    RateLimited:
        "The tenant makes more requests than it may, or too many came from the client's address without a valid key; this \
         one was not looked at."
        "The limit is `limits.requests_per_second`, on average: a second's worth may come at once."
        "Wait as long as `Retry-After` says, then ask less often; larger chunks make fewer requests.";
    TooManyUploads:
        "The tenant has as many open uploads as it may have; none was begun."
        "Uploads were begun and neither finalized nor deleted. They end by themselves when nothing is sent for long \
         enough. The limit is `limits.open_uploads`."
        "Finalize or delete some of them (`GET /api/uploads?state=receiving` lists them), or wait as long as `Retry-After` \
         says."
        [Member::always("open", Kind::Count, "How many are open."),
         Member::always("max", Kind::Count, "How many may be.")];
    Internal:
        "Something is broken on the service's side; the client did nothing wrong."
        "A bug, a damaged disk, or a machine in trouble. The service's log says more."
        "Try once more. If it stays, give `request_id` to whoever operates the service: the log has a line with it.";
    Unavailable:
        "A part that the service needs does not answer at the moment. What was acknowledged before is safe."
        "The database or the storage is away, restarting, or was taken over by somebody else in the middle of this \
         request."
        "Wait as long as `Retry-After` says and send the request again. Operators: `/readyz` tells which part it is.";
    Overloaded:
        "The service has more to do than it can take on, and says so at once instead of letting everybody wait."
        "More requests wait for the database, for memory, for thumbnails, or to pass bytes on to the storage than there is \
         room for; a file in one request took so long that its bytes were given up; or a thumbnail is not ready yet."
        "Wait as long as `Retry-After` says, then go on with fewer requests at once.";
    StorageFull:
        "There is no room left for this; nothing of the request was kept. Other requests go on."
        "The disk or the database is full, or what is announced would eat the room that is kept free."
        "Wait as long as `Retry-After` says. Operators: make room, or lower `file_upload.min_free`.";
}
