//! `cards.html`: cards to print, to cut out and to hand round. One file, which needs nothing else and
//! runs nothing.

use std::fmt::Write as _;

use domain::kit::page::escaped;
use qrcodegen::{DataTooLong, QrCode, QrCodeEcc};

use super::manifest::Kit;

/// Cards on a page: four rows of two.
const ON_A_PAGE: usize = 8;

/// Empty modules around a code, as ISO/IEC 18004 wants them.
const QUIET: i32 = 4;

/// Letters from which on a name is written smaller, and smaller still; and a gateway's URL.
const LONG: usize = 24;
const VERY_LONG: usize = 60;
const LONG_URL: usize = 44;

/// Writes the cards of these kits, which lead to the gateway at `base`.
///
/// # Errors
/// Where an address is too long for a QR code.
pub fn write(kits: &[Kit], base: &str) -> Result<String, DataTooLong> {
    let style = include_str!("cards.css");
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Cards for {} kits</title>\n<style>\n{style}</style>\n\
         <p class=\"hint\">Print this page on A4 or Letter, at 100&nbsp;%, and cut along the dashed lines. \
         Whoever has a card has what is on it: hand each to its owner.</p>\n",
        kits.len()
    );
    for page in kits.chunks(ON_A_PAGE) {
        html.push_str("<section class=\"sheet\">\n");
        for kit in page {
            html.push_str(&card(kit, base)?);
        }
        html.push_str("</section>\n");
    }
    Ok(html)
}

fn card(kit: &Kit, base: &str) -> Result<String, DataTooLong> {
    let url = kit.url(base);
    let qr = drawing(&QrCode::encode_text(&url, QrCodeEcc::Medium)?);
    let (name, small) = match &kit.user_id {
        Some(user_id) => {
            let code = kit.code.as_deref().unwrap_or_default();
            let small = format!("USER_ID <b>{user_id}</b> · <span>code <b>{code}</b></span>");
            (kit.name.as_str(), small)
        }
        None => ("A kit for anybody", "the USER_ID and the code that you were given".to_owned()),
    };
    let size = match name.chars().count() {
        VERY_LONG.. => " class=\"is-very-long\"",
        LONG.. => " class=\"is-long\"",
        _ => "",
    };
    let address = if base.len() < LONG_URL { "address" } else { "address is-long" };
    let (name, base, token) = (escaped(name), escaped(base), kit.token.expose());
    Ok(format!(
        "<article class=\"card\"><div class=\"top\">{qr}<h2 dir=\"auto\"{size}>{name}</h2>\n\
         <p class=\"what\">Your AI agent. On your laptop, open this address, unzip the file, and follow \
         README.md in the folder agent-kit.</p></div>\n\
         <p class=\"{address}\">{base}/kit/<b>{token}</b></p>\n\
         <p class=\"small\">If you are asked: {small}</p></article>\n"
    ))
}

/// A QR code as a picture: each row's dark stretches in one path.
fn drawing(code: &QrCode) -> String {
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let length = (x..size).take_while(|x| code.get_module(*x, y)).count();
            let length = i32::try_from(length).unwrap_or(size);
            if length > 0 {
                let _ = write!(path, "M{} {}h{length}v1h-{length}z", x + QUIET, y + QUIET);
            }
            x += length.max(1);
        }
    }
    let whole = size + 2 * QUIET;
    format!(
        "<svg class=\"qr\" viewBox=\"0 0 {whole} {whole}\" role=\"img\" aria-label=\"QR code\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{whole}v{whole}H0z\"/>\
         <path d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use domain::identifiers::UserId;
    use domain::kit::KitToken;

    use super::*;

    fn kit(name: &str) -> Kit {
        Kit {
            user_id: UserId::parse("ada").ok(),
            name: name.to_owned(),
            email: String::new(),
            code: Some("ABCD-EFGH".to_owned()),
            token: KitToken::mint([7; 8]),
            expires_at: None,
        }
    }

    #[test]
    fn a_name_is_no_tag() {
        let html = write(&[kit("<script>\"Ada\" & co")], "https://gw.example.com").unwrap();
        assert!(html.contains("&lt;script&gt;&quot;Ada&quot; &amp; co"), "{html}");
        assert!(!html.contains("<script"));
    }

    #[test]
    fn a_page_has_eight_cards() {
        for (cards, pages) in [(1, 1), (8, 1), (9, 2), (51, 7)] {
            let html = write(&vec![kit("Ada"); cards], "https://gw.example.com").unwrap();
            let count = |tag: &str| html.matches(tag).count();
            assert_eq!((count("<article"), count("<section")), (cards, pages));
        }
    }

    #[test]
    fn the_drawing_is_the_code() {
        let code = QrCode::encode_text("https://gw.example.com/kit/", QrCodeEcc::Medium).unwrap();
        let svg = drawing(&code);
        let (_, path) = svg.rsplit_once(" d=\"").unwrap();
        let mut drawn = std::collections::BTreeSet::new();
        for stretch in path.split('M').skip(1) {
            let numbers: Vec<i32> = stretch
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            drawn.extend((0..numbers[2]).map(|step| (numbers[0] + step, numbers[1])));
        }
        for y in 0..code.size() {
            for x in 0..code.size() {
                assert_eq!(drawn.contains(&(x + QUIET, y + QUIET)), code.get_module(x, y));
            }
        }
    }

    #[test]
    fn what_no_qr_code_holds_is_refused() {
        let base = format!("https://{}.example.com", "x".repeat(3_000));
        assert!(write(&[kit("Ada")], &base).is_err());
    }
}
