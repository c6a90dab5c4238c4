//! Links and upload tokens: nothing that was not signed here opens anything, however near it comes.
//! The first line of the input is a text as it comes; the second takes the place of a link's claims; the third says
//! which byte of a link is another one.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cifra::app::{App, Services};
use cifra::auth::{NewUploadToken, Shown};
use cifra::base::metadata::Metadata;
use cifra::base::{Code, FileId, Secret, SystemClock, Timestamp};
use cifra::config::{AuthMode, Config};
use cifra_fuzz::first_line;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const OPERATOR: &str = "the-operator-of-the-fuzzer-0123456789";

struct Signed {
    runtime: Runtime,
    services: Arc<Services>,
    file: FileId,
    link: String,
    token: String,
    _app: App,
    _folder: TempDir,
}

fn signed() -> &'static Signed {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::builtin(folder.path());
        config.auth.mode = AuthMode::Keys;
        config.auth.admin_key = Some(Secret::new(OPERATOR));
        let runtime = Runtime::new().expect("a runtime");
        let app = runtime.block_on(App::build(&config, Arc::new(SystemClock::default()))).expect("a service");
        let services = Arc::clone(app.services());
        let file = FileId::new(Timestamp::from_micros(1));
        let life = Duration::from_hours(24);
        let (link, token) = runtime.block_on(async {
            let who = services.auth.authenticate(Some(OPERATOR), None).await.expect("the operator");
            let link =
                services.auth.issue_link(&who, file, Shown::Inline, life, |_| None).await.expect("a link");
            let new = NewUploadToken {
                max_size: 1,
                content_types: None,
                metadata: Metadata::default(),
                max_files: None,
                life,
            };
            (link.text, services.auth.issue_upload_token(&who, new).await.expect("a token").text)
        });
        let token = token.expose().to_owned();
        Signed { runtime, services, file, link, token, _app: app, _folder: folder }
    })
}

fuzz_target!(|data: &[u8]| {
    let signed = signed();
    let auth = &signed.services.auth;
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, rest) = first_line(text.as_bytes());
    let (claims, edit) = first_line(rest);
    let [text, claims] = [text, claims].map(|line| std::str::from_utf8(line).expect("a line of UTF-8"));

    let refused = |text: &str| {
        let opened = signed.runtime.block_on(auth.open_link(text, signed.file, Shown::Inline));
        assert!(is_refusal(opened.expect_err(text).code()), "{text}");
        let shown = format!("cifra_upload_{text}");
        let opened = signed.runtime.block_on(auth.authenticate(Some(&shown), None));
        assert!(is_refusal(opened.expect_err(text).code()), "{text}");
    };
    refused(text);
    let opened = signed.runtime.block_on(auth.authenticate(Some(text), None));
    assert!(opened.is_err() || text == OPERATOR);
    // Other claims under a mac that was right for others.
    let (own, mac) = signed.link.split_once('.').expect("claims and mac");
    refused(&format!("{}.{mac}", base64_url(claims.as_bytes())));
    refused(&format!("{own}.{}", base64_url(claims.as_bytes())));
    // A link whose claims are changed somewhere, and one that is spelled another way.
    if let [at, other, ..] = edit {
        let mut changed = signed.link.clone().into_bytes();
        let at = usize::from(*at) % changed.len();
        if other.is_ascii() && changed[at] != *other {
            changed[at] = *other;
            refused(std::str::from_utf8(&changed).expect("still ASCII"));
            refused(&signed.link[..at]);
        }
    }
    // One kind never passes for another.
    let token = signed.token.strip_prefix("cifra_upload_").expect("its prefix");
    assert!(signed.runtime.block_on(auth.open_link(token, signed.file, Shown::Inline)).is_err());
    let link = format!("cifra_upload_{}", signed.link);
    assert!(signed.runtime.block_on(auth.authenticate(Some(&link), None)).is_err());
    let opened = signed.runtime.block_on(auth.open_link(&signed.link, signed.file, Shown::Inline));
    opened.expect("it was signed here");
});

fn is_refusal(code: Code) -> bool {
    matches!(code, Code::Unauthenticated | Code::Forbidden)
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    text
}
