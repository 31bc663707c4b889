use super::*;

fn filtered(body: &str) -> Result<String, ModelListError> {
    let allowed = ["openclaw".to_owned(), "openclaw/é".to_owned()];
    filter(body.as_bytes(), &allowed).map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn only_allowed_models_stay_and_all_else_is_kept() {
    let body = r#"{"object":"list","data":[ {"id":"openclaw", "n":1.0},{"id":"main"},
        {"id":"openclaw/\u00e9"}, {"id":7}, {"name":"openclaw"}, "openclaw", null ],"x":[ ]}"#;
    assert_eq!(
        filtered(body).as_deref(),
        Ok(
            r#"{"object":"list","data":[{"id":"openclaw", "n":1.0},{"id":"openclaw/\u00e9"}],"x":[ ]}"#
        )
    );
    assert_eq!(filtered(r#"{"data":[]}"#).as_deref(), Ok(r#"{"data":[]}"#));
    assert_eq!(filter(br#"{"data":[{"id":"a"}]}"#, &[]), Ok(br#"{"data":[]}"#.to_vec()));
}

#[test]
fn what_is_no_list_is_an_error() {
    for body in ["", "[]", "{}", r#"{"data":{}}"#, r#"{"data":null}"#, r#"{"data":[]"#, "<html>"] {
        assert_eq!(filtered(body), Err(ModelListError), "{body}");
    }
}
