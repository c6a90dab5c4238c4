//! Exit codes, addresses, keys, and that the arguments are consistent.

use clap::CommandFactory;

use super::exit::{Exit, Failure};
use super::progress::{Bars, Wanted};
use super::{Cli, health, output, remote};
use crate::client::{Error, Event, Kind};
use crate::config::Environment;

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_kind_of_trouble_has_its_exit_code() {
    let codes = [
        (Kind::Failed, 1),
        (Kind::Usage, 2),
        (Kind::NotFound, 3),
        (Kind::Refused, 4),
        (Kind::Conflict, 5),
        (Kind::Unavailable, 6),
    ];
    for (kind, code) in codes {
        assert_eq!(Exit::from(kind) as u8, code, "{kind:?}");
        assert!(super::exit::HELP.contains(&format!("\n  {code}  ")), "the help does not tell code {code}");
    }
    assert_eq!(Failure::from(Error::Changed("a".into())).exit, Exit::Conflict);
}

#[test]
fn a_server_that_listens_everywhere_is_reached_by_loopback() {
    for (listen, address) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:8080", "http://[::1]:8080"),
        ("192.0.2.1:8080", "http://192.0.2.1:8080"),
    ] {
        assert_eq!(health::address(listen.parse().unwrap()), address);
    }
}

#[test]
fn the_key_comes_from_the_environment_or_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), " key of a file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let key =
        |variables: &[(&str, &str)]| remote::api_key(&variables.iter().copied().collect::<Environment>());
    assert_eq!(key(&[]).unwrap(), None);
    assert_eq!(key(&[("CIFRA_API_KEY", "k")]).unwrap().as_deref(), Some("k"));
    assert_eq!(key(&[("CIFRA_API_KEY_FILE", path)]).unwrap().as_deref(), Some("key of a file"));
    assert_eq!(key(&[("CIFRA_API_KEY_FILE", path), ("CIFRA_API_KEY", "k")]).unwrap_err().exit, Exit::Usage);
    assert_eq!(key(&[("CIFRA_API_KEY_FILE", "/no/such/file")]).unwrap_err().exit, Exit::Usage);
    std::fs::write(file.path(), "\n").unwrap();
    assert_eq!(key(&[("CIFRA_API_KEY_FILE", path)]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn progress_adds_up_over_restarts_and_lost_attempts() {
    let bars = Bars::new(Wanted::No, 2, 200);
    let (observer, file) = bars.watch("a");
    let (other, _other_file) = bars.watch("b");
    other(Event::Started(100));
    other(Event::Moved(30));
    for event in [Event::Started(100), Event::Found(20), Event::Moved(50), Event::Lost(50), Event::Moved(10)]
    {
        observer(event);
    }
    assert_eq!((file.position(), bars.total_position()), (30, Some(60)));
    observer(Event::Started(100));
    assert_eq!((file.position(), bars.total_position()), (0, Some(30)));
}

#[test]
fn foreign_text_does_not_steer_the_terminal() {
    assert_eq!(output::printable("a\u{1b}[2J\r\nb\u{9b}c"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c");
}
