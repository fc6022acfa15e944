//! `xdist worker --join`: joins a run on another machine.
#![expect(clippy::disallowed_methods, reason = "a shell module: it reads the environment, for the token")]

use crate::args::WorkerArgs;
use crate::exit_code::ExitCode;
use crate::worker::{ABANDONED, cannot};
use anyhow::{Context, bail};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use xdist_link::dial::{self, Departure, DialOptions, HostCommand};
use xdist_link::token::{MAX_TOKEN_BYTES, Token};
use xdist_worker::HostError;

/// Where the token is, if nobody says where.
const TOKEN_VARIABLE: &str = "XDIST_JOIN";

/// The number that a launcher's host is known by.
const LAUNCH_VARIABLE: &str = "XDIST_LAUNCH";

/// What a token begins with, and hardly any file.
const TOKEN_MARK: &str = "xdist-join-";

/// Joins, and stays until the run is over.
///
/// # Errors
/// When there is no token, or no way to where it leads.
pub(crate) fn join(args: &WorkerArgs, place: Option<&OsStr>) -> anyhow::Result<ExitCode> {
    let text = match place {
        Some(token) if token.to_string_lossy().starts_with(TOKEN_MARK) => {
            let token = token.to_string_lossy();
            if let Err(error) = token.parse::<Token>() {
                return Err(anyhow::Error::new(error).context("--join: that is no join token"));
            }
            return Err(hide(&token));
        }
        Some(place) if place == "-" => {
            first_line(io::stdin().lock()).context("cannot read the join token from standard input")?
        }
        Some(file) => read_file(Path::new(file))?,
        None => from_environment()?,
    };
    let token: Token = text.parse().map_err(|error| explain(error, place))?;
    let launch = launch()?;
    let options = DialOptions {
        token,
        host: host_command(args, launch != 0)?,
        launch,
        patience: Duration::try_from_secs_f64(args.patience).context("--patience")?,
    };
    let is_launched = options.launch != 0;
    match dial::join(options).map_err(cannot)? {
        Departure::Terminated => Ok(ExitCode::Interrupted),
        // The run knows, and may go on with the others that its launcher has started, which that would end (`mpirun` does).
        Departure::Host(_) if is_launched => Ok(ExitCode::Ok),
        Departure::Host(status) => match status.code() {
            Some(0) => Ok(ExitCode::Ok),
            Some(code) if code == i32::from(ABANDONED) => Err(cannot(HostError::Abandoned)),
            // It has said why.
            Some(code) => Ok(ExitCode::Own(code.to_le_bytes()[0])),
            None => bail!("the worker host was ended by signal {}", status.signal().unwrap_or_default()),
        },
    }
}

fn from_environment() -> anyhow::Result<String> {
    match env::var(TOKEN_VARIABLE) {
        Ok(text) => Ok(text),
        Err(env::VarError::NotUnicode(_)) => bail!("{TOKEN_VARIABLE} is no join token"),
        Err(env::VarError::NotPresent) => bail!(
            "--join: there is no join token: name the file that it is in, or - for standard input, or put it into the \
             environment variable {TOKEN_VARIABLE}"
        ),
    }
}

/// Says where that came from which is no token.
fn explain(error: xdist_link::token::TokenError, place: Option<&OsStr>) -> anyhow::Error {
    let source = match place {
        None => TOKEN_VARIABLE.to_owned(),
        Some(place) if place == "-" => "standard input".to_owned(),
        Some(file) => file.to_string_lossy().into_owned(),
    };
    anyhow::Error::new(error).context(format!("cannot join with what is in {source}"))
}

fn read_file(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let hint = "--join takes a file with the join token (which is gone when the run is over), the token itself, or - for \
                standard input";
    if file.as_os_str().is_empty() {
        // As a variable of a shell is that was not set.
        bail!("--join: \"\" is the name of no file; {hint}");
    }
    let opened = File::open(file).with_context(|| format!("cannot read {name}; {hint}"))?;
    let mut text = String::new();
    let limit = MAX_TOKEN_BYTES as u64;
    opened.take(limit).read_to_string(&mut text).with_context(|| format!("cannot read {name}; {hint}"))?;
    Ok(text)
}

/// The first line that has anything in it: nobody at a terminal need end the input.
fn first_line(input: impl Read) -> io::Result<String> {
    let mut reader = BufReader::new(input.take(MAX_TOKEN_BYTES as u64));
    let mut line = String::new();
    while line.trim().is_empty() {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
    }
    Ok(line)
}

/// Gets the token out of the command line, which every user of this machine can read, by becoming the same program with
/// the token on its standard input. Returns only if that fails.
fn hide(token: &str) -> anyhow::Error {
    match become_without(token) {
        Ok(never) => match never {},
        Err(error) => anyhow::Error::new(error).context("cannot hide the join token; put it into a file"),
    }
}

fn become_without(token: &str) -> io::Result<std::convert::Infallible> {
    #[expect(clippy::print_stderr, reason = "it is meant for people")]
    {
        eprintln!(
            "xdist: whoever could list this machine's processes could see the join token for a moment; \
             --join FILE, --join - or {TOKEN_VARIABLE} keep it to yourself"
        );
    }
    let (reader, mut writer) = io::pipe()?;
    // A pipe holds more than the longest token.
    writer.write_all(token.as_bytes())?;
    drop(writer);
    let args = env::args_os().skip(1).map(without_token);
    Err(Command::new(env::current_exe()?).args(args).stdin(reader).exec())
}

/// An argument, with `-` in place of a token.
fn without_token(argument: OsString) -> OsString {
    let text = argument.to_string_lossy();
    match (text.starts_with(TOKEN_MARK), text.starts_with(&format!("--join={TOKEN_MARK}"))) {
        (true, _) => "-".into(),
        (_, true) => "--join=-".into(),
        _ => argument,
    }
}

fn launch() -> anyhow::Result<u32> {
    match env::var(LAUNCH_VARIABLE) {
        Ok(number) => number.parse().with_context(|| format!("{LAUNCH_VARIABLE}: {number:?} is no number")),
        Err(_) => Ok(0),
    }
}

/// This program, as an ordinary host.
fn host_command(args: &WorkerArgs, is_launched: bool) -> anyhow::Result<HostCommand> {
    let mut words: Vec<OsString> = vec!["worker".into(), "--elsewhere".into()];
    if let Some(slots) = args.slots {
        words.push(format!("--slots={slots}").into());
    }
    if let Some(python) = &args.python {
        words.push(format!("--python={python}").into());
    }
    if let Some(directory) = &args.chdir {
        // What a launcher has started is heard best by way of the run.
        if !is_launched && !directory.is_dir() {
            bail!(
                "--chdir: {} is no directory here; name the one that the tests are in",
                directory.display()
            );
        }
        let directory = std::path::absolute(directory).context("--chdir")?;
        words.extend(["--chdir".into(), directory.into()]);
    }
    Ok(HostCommand {
        program: env::current_exe().context("cannot find this program's file")?,
        args: words,
        // The tests need not know them.
        without: vec![TOKEN_VARIABLE, LAUNCH_VARIABLE],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_out_of_the_arguments() {
        let table = [
            ("xdist-join-1-abc", "-"),
            ("--join=xdist-join-1-abc", "--join=-"),
            ("--slots=2", "--slots=2"),
            ("worker", "worker"),
        ];
        for (argument, expected) in table {
            assert_eq!(without_token(argument.into()), expected);
        }
    }

    #[test]
    fn the_first_line_with_something_in_it_is_read() {
        assert_eq!(first_line(&b"\n  \ntoken\nmore"[..]).unwrap(), "token\n");
        assert_eq!(first_line(&b"token"[..]).unwrap(), "token");
        assert_eq!(first_line(&b""[..]).unwrap(), "");
    }
}
