//! The file of `--secrets`: lines such as `NAME=VALUE`, for nobody else's eyes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use domain::secret::Secret;

use super::secrets::Values;

/// Reads a file of lines such as `NAME=VALUE`.
///
/// # Errors
/// When others can read it, git keeps it, or it has a line that is something else.
pub fn read(path: &Path) -> Result<Values> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {shown}"))?;
    let mode = path.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{shown} can be read by others. Run `chmod 600 {shown}`, and this again.");
    }
    if is_tracked(path) {
        bail!(
            "{shown} is kept by git, and secrets in it would go wherever the repository goes. Take it \
             out (`git rm --cached {shown}`), treat what is in it as known, and use new values."
        );
    }
    parse(&text).with_context(|| format!("{shown} can't be used"))
}

fn is_tracked(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(name) = path.file_name() else { return false };
    let mut git = Command::new("git");
    git.current_dir(folder.unwrap_or(Path::new("."))).args(["ls-files", "--error-unmatch", "--"]);
    git.arg(name).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}

/// The values in its lines.
///
/// # Errors
/// When one of them is something else.
pub fn parse(text: &str) -> Result<Values> {
    let mut values = Values::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            bail!("line {} is no NAME=VALUE", index + 1);
        };
        let (name, value) = (name.trim().to_owned(), unquoted(value.trim()).to_owned());
        if values.insert(name.clone(), Secret::new(value)).is_some() {
            bail!("{name} is there twice");
        }
    }
    Ok(values)
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_name_a_line() {
        let text = "\u{feff}# ours\n\nexport A = \"x y\" \r\nB='#1'\nC={\"a\":\"b\"}\nD=a=b # c\n";
        let values = parse(text).unwrap();
        let value = |name: &str| values[name].expose().clone();
        assert_eq!([value("A"), value("B")], ["x y", "#1"]);
        assert_eq!([value("C"), value("D")], ["{\"a\":\"b\"}", "a=b # c"]);
        assert!(parse("just-words").is_err());
        let twice = format!("{:#}", parse("A=1234567890\nA=2").unwrap_err());
        assert!(!twice.contains("1234567890"), "{twice}");
    }

    #[test]
    fn a_file_that_others_can_read_or_git_keeps_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        std::fs::write(&path, "OPENCLAW_URL=https://a.example\n").unwrap();
        let allow = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).unwrap();
        };
        allow(0o640);
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
        allow(0o600);
        assert_eq!(read(&path).unwrap().len(), 1);
        for words in [&["init", "--quiet"][..], &["add", "secrets"]] {
            let git = Command::new("git").args(words).current_dir(folder.path()).status().unwrap();
            assert!(git.success());
        }
        assert!(read(&path).unwrap_err().to_string().contains("git"));
    }
}
