//! Finds the file, reads it and makes a [`Config`] of all layers. The only file I/O of this module.
//! Called by `cli`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::document::Document;
use super::environment::{Environment, PREFIX};
use super::fault::{Fault, Faults, Origin, Problem};
use super::reader::{COMMON_VARIABLES, ConfigFile, Entry, Layers, Reader};
use super::{Config, render};

/// Where [`load`] looks.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The environment; `CIFRA_CONFIG` in it names the file when `--config` does not.
    pub environment: Environment,
    /// Keys and values from the command line; the last one of a key counts.
    pub flags: Vec<(String, String)>,
    /// Absolute: where relative paths that are not in the file begin.
    pub working_dir: PathBuf,
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file they came from, if there is one.
    pub source: Source,
    entries: Vec<Entry>,
}

/// The file that was used, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// None was named and none was found.
    BuiltIn,
}

/// The variable that names the file.
const FILE_VARIABLE: &str = "CIFRA_CONFIG";

/// Where a file is looked for when none is named; relative ones in the working directory.
const SEARCH_PATH: &[&str] = &["cifra.yaml", "config/cifra.yaml", "/etc/cifra/cifra.yaml"];

/// No configuration is longer: a larger file was named by mistake.
const MAX_FILE_BYTES: u64 = 256 << 10;

impl Sources {
    /// The environment and the working directory of this process, with what the command line gives.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> io::Result<Self> {
        let working_dir = std::env::current_dir()?;
        Ok(Self { file, environment: Environment::of_process(), flags, working_dir })
    }
}

/// Makes a configuration of defaults < file < environment < command line.
///
/// # Errors
/// Everything that is wrong, at once; a file that can't be read or is not YAML comes alone.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let file = find_file(sources)?;
    let mut reader = Reader::new(Layers {
        flags: &sources.flags,
        environment: &sources.environment,
        file: file.as_ref(),
        working_dir: &sources.working_dir,
    });
    let config = Config::read(&mut reader);
    let (entries, mut faults) = reader.finish();
    let ours = |name: &&str| {
        name.starts_with(PREFIX)
            || *name == FILE_VARIABLE
            || COMMON_VARIABLES.iter().any(|(_, common)| common == name)
    };
    for name in sources.environment.unreadable().filter(ours) {
        let problem = Problem::Unreadable("the value is not UTF-8".to_owned());
        faults.push(Fault { origin: Origin::Environment(name.to_owned()), key: String::new(), problem });
    }
    if let Some(faults) = Faults::of(faults) {
        return Err(faults);
    }
    let source = file.map_or(Source::BuiltIn, |file| Source::File(file.path));
    Ok(Loaded { config, source, entries })
}

impl Loaded {
    /// The effective values as YAML, each with where it came from; loading the text gives the same
    /// configuration.
    pub fn show(&self) -> String {
        render::effective_yaml(&self.source, &self.entries)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("built-in defaults"),
        }
    }
}

/// The named file, or the first one on the search path. A named one must exist.
fn find_file(sources: &Sources) -> Result<Option<ConfigFile>, Faults> {
    let from_environment = || sources.environment.get(FILE_VARIABLE).map(PathBuf::from);
    if let Some(named) = sources.file.clone().or_else(from_environment) {
        let path = sources.working_dir.join(named);
        let text = read_text(&path).map_err(|error| unreadable(&path, &error))?;
        return parse(path, &text).map(Some);
    }
    for candidate in SEARCH_PATH {
        let path = sources.working_dir.join(candidate);
        match read_text(&path) {
            Ok(text) => return parse(path, &text).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(unreadable(&path, &error)),
        }
    }
    Ok(None)
}

fn parse(path: PathBuf, text: &str) -> Result<ConfigFile, Faults> {
    match Document::parse(text) {
        Ok(document) => {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            Ok(ConfigFile { path, folder, document })
        }
        Err(broken) => {
            let why = format!("not valid YAML: {}", broken.message);
            Err(Faults::unreadable(Origin::File(path, broken.position), why))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Faults {
    let origin = Origin::File(path.to_owned(), None);
    Faults::unreadable(origin, format!("can't read the configuration file: {error}"))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 256 KiB"));
    }
    String::from_utf8(bytes)
        .map_err(|error| io::Error::other(format!("it is not UTF-8: {}", error.utf8_error())))
}
