//! What to do when Cloudflare refuses, in a sentence: `wrangler` says what happened, not what to do.

/// What of wrangler's output is its own words of a failure, without marks and notes on itself.
fn words(output: &str) -> String {
    let noise = ["If you think this is a bug", "https://github.com/cloudflare", "🪵", "Logs were"];
    let lines = output.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !noise.iter().any(|it| line.contains(it)));
    let lines: Vec<_> = lines.map(|line| format!("    {line}")).collect();
    let first = lines.len().saturating_sub(20);
    lines.get(first..).unwrap_or_default().join("\n")
}

/// The number in `[code: 10042]`, where there is one.
fn code(output: &str) -> Option<u32> {
    let (_, rest) = output.rsplit_once("[code: ")?;
    rest.split_once(']')?.0.parse().ok()
}

/// What happened and what to do, for the output of a command that failed.
pub fn explain(output: &str) -> String {
    format!("{}\n\nwhat to do: {}", words(output), advice(output))
}

fn advice(output: &str) -> &'static str {
    let says = |text: &str| output.contains(text);
    match code(output) {
        Some(10042) => {
            "R2 isn't switched on for this account. Open R2 in Cloudflare's dashboard once and accept \
             its plan (10 GB are free; it asks for a means of payment); or take [[r2_buckets]] out of \
             wrangler.toml, and all but kits goes on. Then run this again: what was made until here is \
             kept."
        }
        Some(10000 | 9106 | 9109 | 6003 | 6111) => PERMISSIONS,
        Some(10026) => {
            "Verify the account's email address in Cloudflare's dashboard, then run this again."
        }
        _ if says("maximum number of D1 databases") => {
            "The account has as many D1 databases as its plan allows. Delete one that nobody needs \
             (`npx wrangler d1 list`, `npx wrangler d1 delete NAME`), or take a larger plan."
        }
        Some(10027) => {
            "The Worker is larger than the account's plan allows. See docs/deploy.md on plans; \
             `cargo xtask deploy --dry-run` says how large it is."
        }
        Some(10072) => {
            "The account has as many cron triggers as its plan allows (5 on the free one; this Worker \
             has 2). Remove one of another Worker, or take a larger plan."
        }
        Some(10034 | 10063) => WORKERS_DEV,
        _ if says("register a workers.dev subdomain") => WORKERS_DEV,
        _ if says("\"loggedIn\":false")
            || says("\"loggedIn\": false")
            || says("CLOUDFLARE_API_TOKEN environment variable") =>
        {
            "Sign in with `npx wrangler login`; where there is no browser, set CLOUDFLARE_API_TOKEN to \
             a token that may edit Workers scripts, D1 and R2 (docs/deploy.md)."
        }
        _ if says("More than one account") => {
            "You may use several accounts: set CLOUDFLARE_ACCOUNT_ID to the id of the one that is meant."
        }
        _ if says("Forbidden") || says("403") => PERMISSIONS,
        _ if says("fetch failed") || says("ENOTFOUND") || says("ECONNREFUSED") => {
            "Cloudflare's API isn't reached from here. Check the network (and a proxy, if there is one), \
             then run this again."
        }
        _ => {
            "Mend what Cloudflare names above. Where it speaks of an error of its own, wait a minute. \
             Then run this again: what was made until here is kept, and it goes on from there."
        }
    }
}

const PERMISSIONS: &str = "The sign-in or the token may not do this in this account. Run `npx wrangler \
     login` again, or give the token the permissions that docs/deploy.md lists, and check \
     CLOUDFLARE_ACCOUNT_ID. Then run this again.";

const WORKERS_DEV: &str = "The account has no workers.dev name yet. Open Workers & Pages in Cloudflare's \
     dashboard once and choose one, or deploy to a domain of yours with --domain. Then run this again.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrangler_says_is_kept_and_what_to_do_is_added() {
        let output = "✘ [ERROR] A request to the Cloudflare API (/accounts/a/r2/buckets) failed.\n\n  \
                      Please enable R2 through the Cloudflare Dashboard. [code: 10042]\n\n  If you think \
                      this is a bug, please open an issue at: \
                      https://github.com/cloudflare/workers-sdk/issues/new/choose\n";
        let text = explain(output);
        assert!(text.contains("Please enable R2") && text.contains("dashboard once"), "{text}");
        assert!(!text.contains("github"), "{text}");
    }

    #[test]
    fn each_trouble_has_its_advice() {
        for (output, advised) in [
            ("Authentication error [code: 10000]", "docs/deploy.md"),
            ("403 Forbidden", "docs/deploy.md"),
            ("{\n  \"loggedIn\": false\n}", "wrangler login"),
            ("{\"loggedIn\":false}", "wrangler login"),
            ("you can register a workers.dev subdomain here", "--domain"),
            ("TypeError: fetch failed", "network"),
            ("an internal error [code: 10001]", "goes on from there"),
            ("", "goes on from there"),
        ] {
            assert!(advice(output).contains(advised), "{output}: {}", advice(output));
        }
    }
}
