//! What people get wrong in `.env`, and what becomes of it.

use gateway_tests::redaction::RUN;

use super::{Kit, hosted};
use crate::onboarding::issue;
use crate::runner::Test;
use crate::shared::{self, user};
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        what_people_get_wrong_is_repaired,
        a_code_is_taken_in_any_spelling,
        what_cant_be_repaired_is_said,
        plain_http_is_for_the_same_building,
        a_kit_that_isnt_whole_says_so,
        any_shell_will_do,
    ]
}

/// Files as people leave them. `{url}` is `http://127.0.0.1:…`, `{host}` the same without a scheme,
/// `{name}` the USER_ID, `{Name}` with capitals, `{key}` a gateway key of it.
const MISTAKES: [(&str, &str, &str); 34] = [
    ("nothing at all", ".env", "OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("no line end", ".env", "OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}"),
    (
        "double quotes",
        ".env",
        "OPENCLAW_URL=\"{url}\"\nUSER_ID=\"{name}\"\nOPENCLAW_GATEWAY_KEY=\"{key}\"\n",
    ),
    (
        "single quotes",
        ".env",
        "OPENCLAW_URL='{url}'\nUSER_ID='{name}'\nOPENCLAW_GATEWAY_KEY='{key}'\n",
    ),
    (
        "smart quotes",
        ".env",
        "OPENCLAW_URL=“{url}”\nUSER_ID=„{name}“\nOPENCLAW_GATEWAY_KEY=‘{key}’\n",
    ),
    ("half a quote", ".env", "OPENCLAW_URL=\"{url}\nUSER_ID={name}'\nOPENCLAW_GATEWAY_KEY={key}\n"),
    (
        "blanks in quotes",
        ".env",
        "OPENCLAW_URL=\" {url} \"\nUSER_ID=' {name} '\nOPENCLAW_GATEWAY_KEY=\" {key} \"\n",
    ),
    (
        "backticks and brackets",
        ".env",
        "OPENCLAW_URL=<{url}>\nUSER_ID=`{name}`\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    (
        "blanks around",
        ".env",
        "  OPENCLAW_URL = {url}  \n\tUSER_ID\t=\t{name}\t\nOPENCLAW_GATEWAY_KEY =  {key}  \n",
    ),
    (
        "blanks that don't look like it",
        ".env",
        "OPENCLAW_URL=\u{a0}{url}\u{a0}\nUSER_ID=\u{200b}{name}\nOPENCLAW_GATEWAY_KEY={key}\u{200b}\n",
    ),
    (
        "Windows line ends",
        ".env",
        "OPENCLAW_URL={url}\r\nUSER_ID={name}\r\nOPENCLAW_GATEWAY_KEY={key}\r\n",
    ),
    (
        "a byte order mark",
        ".env",
        "\u{feff}OPENCLAW_URL={url}\r\nUSER_ID={name}\r\nOPENCLAW_GATEWAY_KEY={key}\r\n",
    ),
    (
        "UTF-16",
        ".env",
        "\u{feff}OPENCLAW_URL={url}\r\nUSER_ID={name}\r\nOPENCLAW_GATEWAY_KEY={key}",
    ),
    ("/v1", ".env", "OPENCLAW_URL={url}/v1\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("/v1/", ".env", "OPENCLAW_URL={url}/v1/\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("slashes", ".env", "OPENCLAW_URL={url}//\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    (
        "the whole path",
        ".env",
        "OPENCLAW_URL={url}/v1/chat/completions\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    ("the user's own path", ".env", "OPENCLAW_URL={url}/u/{name}/v1\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("/health", ".env", "OPENCLAW_URL={url}/health\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    (
        "what a browser adds",
        ".env",
        "OPENCLAW_URL={url}/?utm_source=mail#top\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    (
        "the end of a sentence",
        ".env",
        "OPENCLAW_URL={url}.\nUSER_ID={name},\nOPENCLAW_GATEWAY_KEY={key};\n",
    ),
    ("no scheme", ".env", "OPENCLAW_URL={host}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    (
        "a scheme in capitals",
        ".env",
        "OPENCLAW_URL=HTTP://{host}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    (
        "one slash",
        ".env",
        "OPENCLAW_URL=http:/{host}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    (
        "backslashes",
        ".env",
        "OPENCLAW_URL=http:\\\\{host}\\v1\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
    ("capitals", ".env", "OPENCLAW_URL={url}\nUSER_ID={Name}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("a long dash", ".env", "OPENCLAW_URL={url}\nUSER_ID={na–me}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    ("no USER_ID", ".env", "OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"),
    (
        "shell's export, and comments",
        ".env",
        "export OPENCLAW_URL={url} # the venue's\nexport USER_ID={name}\t# me\nexport OPENCLAW_GATEWAY_KEY=\"{key}\" # secret\n",
    ),
    (
        "a header's value",
        ".env",
        "OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY=Bearer {key}\n",
    ),
    (
        "the key in another's place",
        ".env",
        "OPENCLAW_URL={url}\nUSER_ID={name}\nOPENAI_API_KEY={key}\n",
    ),
    ("the key for a code", ".env", "OPENCLAW_URL={url}\nUSER_ID={name}\nCLAIM_CODE={key}\n"),
    (
        ".env.txt",
        ".env.txt",
        "OPENCLAW_URL={url}\r\nUSER_ID={name}\r\nOPENCLAW_GATEWAY_KEY={key}\r\n",
    ),
    (
        "the example filled in",
        ".env.example",
        "# Your settings\nOPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n",
    ),
];

async fn what_people_get_wrong_is_repaired() {
    let gateway = &hosted().await.gateway;
    let name = user("mistaken");
    let key = gateway.mint_key(&name).await.key;
    let url = gateway.url("");
    let url = url.trim_end_matches('/');
    for (what, file, text) in MISTAKES {
        let text = text
            .replace("{url}", url)
            .replace("{host}", url.trim_start_matches("http://"))
            .replace("{name}", &name)
            .replace("{Name}", &name.to_uppercase())
            .replace("{na–me}", &name.replace('-', "–"))
            .replace("{key}", &key);
        let bytes = if what == "UTF-16" {
            text.encode_utf16().flat_map(u16::to_le_bytes).collect()
        } else {
            text.into_bytes()
        };
        let kit = Kit::unzip().saved(file, bytes);
        let ended = kit.setup().await;
        assert_eq!(ended.code, Some(0), "{what}: {ended:?}");
        ended.is_ready();
        for (setting, meant) in
            [("OPENCLAW_URL", url), ("USER_ID", &name), ("OPENCLAW_GATEWAY_KEY", &key)]
        {
            assert_eq!(kit.setting(setting), meant, "{what}");
        }
        assert!(!kit.env().contains('\r') && kit.env().is_ascii(), "{what}: {}", kit.env());
    }
}

async fn a_code_is_taken_in_any_spelling() {
    let gateway = &hosted().await.gateway;
    let url = gateway.url("");
    for (spell, setting) in [
        (str::to_lowercase as fn(&str) -> String, "CLAIM_CODE"),
        (|code| code.replace('-', " "), "CLAIM_CODE"),
        (|code| code.replace('-', "–"), "CLAIM_CODE"),
        (|code| format!("“{code}”."), "CLAIM_CODE"),
        (str::to_owned, "OPENCLAW_GATEWAY_KEY"),
        (str::to_owned, "OPENAI_API_KEY"),
    ] {
        let name = user("speller");
        let code = spell(&issue(gateway, &name).await);
        let kit = Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={name}\n{setting}={code}\n"));
        kit.setup().await.is_ready();
        assert!(kit.setting("OPENCLAW_GATEWAY_KEY").starts_with("ogk_"));
    }
}

async fn what_cant_be_repaired_is_said() {
    let pair = shared::keyed().await;
    let url = pair.gateway.url("");
    let key = format!("ogk_ada_{}", "0aB9z".repeat(9).split_at(43).0);
    RUN.note("a key that nobody has", &key);
    for (env, code, words) in [
        (String::new(), 2, "OPENCLAW_URL is missing in .env."),
        (format!("OPENCLAW_URL={url}\n"), 2, "USER_ID is missing in .env."),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\n"), 2, "Your code or your key is missing"),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENAI_API_KEY=sk-\"1\n"), 2, "Copy it again."),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENAI_API_KEY=sk-é1\n"), 2, "Copy it again."),
        (format!("OPENCLAW_URL={url}\nUSER_ID=Zoë\nOPENAI_API_KEY=sk-1\n"), 2, "without accents"),
        (format!("OPENCLAW_URL={url}\nUSER_ID=-a\nOPENAI_API_KEY=sk-1\n"), 2, "no USER_ID has"),
        ("OPENCLAW_URL=http://a b@\"\nUSER_ID=a\nCLAIM_CODE=a\n".into(), 2, "isn't an address"),
        ("{\\rtf1\\ansi OPENCLAW_URL=x}\n".into(), 2, "Format > Make Plain Text"),
        (
            format!(
                "OPENCLAW_URL={url}\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\nOPENAI_API_KEY=sk-1\n"
            ),
            6,
            "This gateway key isn't valid for this user. Copy it again",
        ),
        (
            format!(
                "OPENCLAW_URL={url}\nUSER_ID=eve\nOPENCLAW_GATEWAY_KEY={key}\nOPENAI_API_KEY=sk-1\n"
            ),
            2,
            "This request names two different users.",
        ),
        (
            format!("OPENCLAW_URL={url}\nUSER_ID=ada\nCLAIM_CODE=1234-5678\n"),
            6,
            "This code isn't right.",
        ),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\nCLAIM_CODE=mañana\n"), 2, "Copy it again."),
    ] {
        let kit = Kit::with(&env);
        let ended = kit.setup().await;
        ended.fails(code, words);
        ended.tells_none_of(&[&key]);
        kit.doctor().await;
        assert_eq!(kit.env().contains('\u{0}'), env.contains('\u{0}'));
    }
}

/// Whatever isn't in the same building goes by https. There is no network here to go wrong in.
async fn plain_http_is_for_the_same_building() {
    for (written, meant) in [
        ("http://gateway.example.com", "https://gateway.example.com"),
        ("gateway.example.com/v1", "https://gateway.example.com"),
        ("https//gateway.example.com", "https://gateway.example.com"),
        (
            "Http://Gateway.Example.com:8443/Some/Path/v1",
            "https://gateway.example.com:8443/Some/Path",
        ),
        ("http://127.0.0.1.example.com", "https://127.0.0.1.example.com"),
        ("http://localhost:18789", "http://localhost:18789"),
        ("localhost:18789", "http://localhost:18789"),
        ("http://[::1]:18789/v1", "http://[::1]:18789"),
        ("http://192.168.1.7:8787", "http://192.168.1.7:8787"),
        ("http://172.31.0.1", "http://172.31.0.1"),
        ("http://172.32.0.1", "https://172.32.0.1"),
        ("mac-mini.local:8787", "http://mac-mini.local:8787"),
    ] {
        let kit = Kit::with(format!("OPENCLAW_URL={written}\nUSER_ID=ada\nOPENAI_API_KEY=sk-1\n"));
        let ended = kit.inside(&super::doctor::NO_NETWORK).setup().await;
        let said = format!("  ok  Your settings: ada at {meant}\n");
        assert!(ended.said.starts_with(&said), "{written}: {ended:?}");
    }
}

async fn a_kit_that_isnt_whole_says_so() {
    for part in ["lib/settings.sh", "lib/gateway.sh"] {
        let kit = Kit::unzip();
        std::fs::remove_file(kit.folder.join(part)).unwrap();
        for script in ["setup.sh", "agent"] {
            kit.run(script, &[]).await.fails(1, "Unzip the whole kit into a folder");
        }
    }
    // A computer without curl.
    let kit = Kit::unzip();
    let bare = kit.folder.join("bare");
    std::fs::create_dir(&bare).unwrap();
    for tool in ["bash", "dirname"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), bare.join(tool)).unwrap();
    }
    let kit = kit.set("PATH", bare.display().to_string());
    kit.setup().await.fails(1, "This needs curl.");

    let kit = Kit::unzip();
    let usage = kit.run("setup.sh", &["--help"]).await;
    assert_eq!(usage.code, Some(0));
    for line in (0..=9).map(|code| format!("\n  {code}  ")) {
        assert!(usage.said.contains(&line), "{line}: {usage:?}");
    }
    for wrong in [&["--auth"][..], &["codex"], &["--auth", "codex", "x"], &["--doctor", "--help"]] {
        let ended = kit.run("setup.sh", wrong).await;
        assert_eq!((ended.code, ended.complained), (Some(1), usage.said.clone()), "{wrong:?}");
    }
}

/// `sh setup.sh` is what many people type, and sh is another program on every system.
async fn any_shell_will_do() {
    let gateway = &hosted().await.gateway;
    let (name, url) = (user("typist"), gateway.url(""));
    let key = gateway.mint_key(&name).await.key;
    let env = format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n");
    // As on Debian, and as on macOS, where it is a bash that leaves out what POSIX doesn't have.
    for (shell, variables) in [("dash", "X=1"), ("bash", "POSIXLY_CORRECT=1")] {
        let mut kit = Kit::with(&env).inside(&["env", variables]);
        kit.shell = shell.into();
        kit.setup().await.is_ready();
        let told = kit.run("agent", &["hello"]).await;
        assert_eq!((told.code, told.complained.as_str()), (Some(0), ""), "{shell:?}: {told:?}");
    }
}
