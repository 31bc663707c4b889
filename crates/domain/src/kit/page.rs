//! Pages for whoever opens a kit's address in a browser and gets no kit: one short text each, without a
//! script and without anything from elsewhere.

/// What a browser may do with a page: show it, in this style.
pub const POLICY: &str = "default-src 'none'; style-src 'sha256-GYOZ+NVHqX6W2EhPNWmbKcQGtke5XjQVcfTq79ag+mo='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = ":root{color-scheme:light dark}\
    body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.2rem}\
    h1{font-size:1.4rem}\
    b{font:600 1.2rem ui-monospace,monospace;overflow-wrap:anywhere}";

/// Says why there is no kit.
#[must_use]
pub fn of_trouble(message: &str) -> String {
    page("No kit here", &format!("<p>{}</p>", escaped(message)))
}

/// Says where to go with an address that was opened on a phone, for a kit runs on a laptop. Whoever
/// wants it here all the same gets it by `?download=true`.
#[must_use]
pub fn on_a_phone(address: &str) -> String {
    let address = escaped(address);
    let text = format!(
        "<p>Open this address in the browser of your laptop:</p><p><b>{address}</b></p>\
         <p>Or <a href=\"?download=true\" rel=\"nofollow\">download it here</a> and bring it over.</p>"
    );
    page("Your kit is for your laptop", &text)
}

/// Whether a browser says that it runs on a phone: all that do have this word in it.
/// <https://developer.mozilla.org/docs/Web/HTTP/Guides/Browser_detection_using_the_user_agent>
#[must_use]
pub fn is_a_phones(user_agent: &str) -> bool {
    user_agent.contains("Mobi")
}

/// A text as HTML shows it, between tags and in quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>{text}\n"
    )
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_allows_this_style_and_no_other() {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "{hash}");
    }

    #[test]
    fn nothing_that_is_said_becomes_a_tag() {
        let page = of_trouble("<script>alert('1')</script> & \"more\"");
        let text = "<p>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;more&quot;</p>";
        assert!(page.contains(text), "{page}");
        assert!(on_a_phone("https://x/<b>").contains("https://x/&lt;b&gt;"));
    }

    #[test]
    fn phones_are_told_apart_from_laptops() {
        let phones = [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
             Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/140.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
        ];
        assert!(phones.iter().all(|phone| is_a_phones(phone)));
        let others = [
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.5 Safari/605.1.15",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "curl/8.5.0",
            "",
        ];
        assert!(!others.iter().any(|other| is_a_phones(other)));
    }
}
