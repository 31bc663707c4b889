//! A kit as a ZIP: what is in `trainee-kit/`, and the settings of the one who gets it.
//!
//! The same settings give the same bytes, whenever and wherever: fixed times, a fixed order, and nothing
//! compressed, for what a compressor writes differs from one to the next.

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The folder that comes out of every kit.
const FOLDER: &str = "agent-kit";

const SCRIPT: u32 = 0o755;
const TEXT: u32 = 0o644;
/// There is a code in it, and later a key.
const SECRET: u32 = 0o600;

macro_rules! files {
    ($($mode:ident $name:literal)+) => {
        [$(($name, $mode, include_str!(concat!("../../../../../trainee-kit/", $name)))),+]
    };
}

/// The files of the kit, with their rights.
const FILES: [(&str, u32, &str); 17] = files![
    TEXT ".claude/agents/project-agent.json"
    TEXT ".env.example"
    TEXT "CLAUDE.md"
    TEXT "PLANNING/template.md"
    TEXT "README.md"
    SCRIPT "agent"
    TEXT "agent.ps1"
    TEXT "lib/gateway.ps1"
    TEXT "lib/gateway.sh"
    TEXT "lib/settings.ps1"
    TEXT "lib/settings.sh"
    TEXT "lib/sign-in.ps1"
    TEXT "lib/sign-in.sh"
    TEXT "lib/stream.ps1"
    TEXT "lib/stream.sh"
    TEXT "setup.ps1"
    SCRIPT "setup.sh"
];

/// What a kit is told of its owner; what is empty is asked for.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// The gateway's URL.
    pub url: &'a str,
    /// Who.
    pub user_id: &'a str,
    /// What becomes a key, once.
    pub code: &'a str,
}

/// Packs a kit.
///
/// # Errors
/// None that come up: it writes to memory.
pub fn pack(settings: Settings<'_>) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let env = env(settings);
    for (name, mode, content) in FILES.into_iter().chain([(".env", SECRET, env.as_str())]) {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::from_date_and_time(2026, 1, 1, 0, 0, 0)?)
            .unix_permissions(mode);
        writer.start_file(format!("{FOLDER}/{name}"), options)?;
        writer.write_all(content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

/// The settings as the kit's example of them has them.
fn env(Settings { url, user_id, code }: Settings<'_>) -> String {
    let example = include_str!("../../../../../trainee-kit/.env.example");
    let mut text = "# Your settings. Setup asks for what is missing.\n".to_owned();
    for line in example.lines().skip(1) {
        text.push_str(line);
        text.push_str(match line {
            "OPENCLAW_URL=" => url,
            "USER_ID=" => user_id,
            "CLAIM_CODE=" => code,
            _ => "",
        });
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;
    use std::path::Path;

    use super::*;

    const ADA: Settings<'_> =
        Settings { url: "https://gw.example.com", user_id: "ada", code: "ABCD-EFGH" };

    fn unpacked(zip: Vec<u8>) -> BTreeMap<String, (u32, String)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            let mode = file.unix_mode().unwrap() & 0o777;
            files.insert(file.name().unwrap().into_owned(), (mode, content));
        }
        files
    }

    /// All files below a folder, but what trying the kit leaves there.
    fn found(folder: &Path, below: &str) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            let name = format!("{below}{}", name.to_str().unwrap());
            if path.is_dir() {
                names.extend(found(&path, &format!("{name}/")));
            } else if name != ".env" && !name.starts_with("PLANNING/workflow-") {
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn the_whole_kit_is_in_it_with_its_rights() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../trainee-kit");
        let mut packed = unpacked(pack(ADA).unwrap());
        let (mode, env) = packed.remove("agent-kit/.env").unwrap();
        assert_eq!(mode, 0o600);
        assert!(env.contains("\nOPENCLAW_URL=https://gw.example.com\n"), "{env}");
        assert!(env.contains("\nUSER_ID=ada\n") && env.contains("\nCLAIM_CODE=ABCD-EFGH\n"));
        let names = found(&sources, "");
        assert_eq!(packed.len(), names.len(), "{names:?}");
        for name in names {
            let source = sources.join(&name);
            let (mode, content) = &packed[&format!("agent-kit/{name}")];
            assert_eq!(*content, std::fs::read_to_string(&source).unwrap(), "{name}");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let is_script = source.metadata().unwrap().permissions().mode() & 0o100 != 0;
                assert_eq!(*mode, if is_script { 0o755 } else { 0o644 }, "{name}");
            }
        }
    }

    #[test]
    fn the_same_settings_give_the_same_bytes() {
        let zip = pack(ADA).unwrap();
        assert_eq!(zip, pack(ADA).unwrap());
        assert_ne!(zip, pack(Settings { code: "ABCD-EFGJ", ..ADA }).unwrap());
        assert!(domain::kit::is_whole_zip(&zip));
        assert!((zip.len() as u64) < domain::kit::MOST_BYTES / 2, "{}", zip.len());
    }

    #[test]
    fn what_nobody_is_told_is_asked_for() {
        let settings = Settings { url: "https://gw.example.com", ..Settings::default() };
        let (_, env) = &unpacked(pack(settings).unwrap())["agent-kit/.env"];
        assert!(env.contains("\nUSER_ID=\n") && env.contains("\nCLAIM_CODE=\n"), "{env}");
    }
}
