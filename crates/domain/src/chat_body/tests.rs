use super::*;

fn prepared(body: &str) -> ChatBody {
    prepare(body.as_bytes())
}

fn replacement(body: &str) -> Option<String> {
    prepared(body).replacement.map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn asks_for_usage_where_a_stream_did_not() {
    for (body, expected) in [
        (
            r#"{"model":"m", "stream":true, "n":1.0}"#,
            r#"{"model":"m","stream":true,"n":1.0,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"x":[ 1 ]},"stream":true}"#,
            r#"{"stream_options":{"x":[ 1 ],"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        let found = prepared(body);
        assert!(found.strip_usage && found.stream);
        assert_eq!(replacement(body).as_deref(), Some(expected));
    }
}

#[test]
fn leaves_all_else_as_it_came() {
    for body in [
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":"all"}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":false}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":1}"#,
        r#"{"stream":null}"#,
        r#"{"Stream":true}"#,
        r#"{"stream":true,"stream":true}"#,
        r#"{"stream":true"#,
        r#"[{"stream":true}]"#,
        "stream=true",
        "",
    ] {
        let found = prepared(body);
        assert_eq!((found.replacement, found.strip_usage), (None, false), "{body}");
    }
    assert_eq!(prepare(b"{\"stream\":true,\"a\":\"\xFF\"}"), ChatBody::default());
}

#[test]
fn the_model_is_logged_if_it_is_fit_for_a_log() {
    let model = |json: &str| prepared(&format!("{{\"model\":{json}}}")).model;
    assert_eq!(model(r#""gpt-4.1""#).as_deref(), Some("gpt-4.1"));
    assert_eq!(model(r#""\u0067pt""#).as_deref(), Some("gpt"));
    assert_eq!(model(&format!("\"{}\"", "é".repeat(128))), Some("é".repeat(128)));
    assert_eq!(model(&format!("\"{}\"", "é".repeat(129))), None);
    for json in ["\"\"", "null", "7", "[\"a\"]", r#""a\nb""#, r#""a\u0000""#, r#""\ud800""#] {
        assert_eq!(model(json), None, "{json}");
    }
    assert_eq!(prepared("{}").model, None);
}
