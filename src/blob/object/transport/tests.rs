//! What a store may answer, from a server that says what it is told to, once.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// A server that answers one request with `answer`, to the letter, and closes; answers its URL.
fn says(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/bucket/key", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    url
}

async fn ask(method: Method, url: &str) -> Result<(StatusCode, Result<String, HttpError>), HttpError> {
    let client = Transport::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
    let mut request = HttpRequest::new(HttpRequestBody::from(Bytes::from_static(b"<x/>")));
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().unwrap();
    let (head, body) = client.execute(request).await?.into_parts();
    let body = body.bytes().await.map(|body| String::from_utf8(body.to_vec()).unwrap());
    Ok((head.status, body))
}

fn refusal(error: &HttpError) -> &Refusal {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).expect("a refusal")
}

#[tokio::test]
async fn an_error_in_a_200_to_complete_is_a_refusal() {
    let passes = "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\n   <Error><Code>InternalError</Code><Message>try again</Message></Error>";
    let error = ask(Method::POST, &format!("{}?uploadId=1", says(passes))).await.unwrap_err();
    assert_eq!((refusal(&error).code.as_str(), error.kind()), ("InternalError", HttpErrorKind::Request));

    let stays = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\n\n<Error><Code>InvalidPart</Code></Error>";
    let error = ask(Method::POST, &format!("{}?uploadId=1", says(stays))).await.unwrap_err();
    assert_eq!((refusal(&error).code.as_str(), error.kind()), ("InvalidPart", HttpErrorKind::Decode));

    let blob = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<Error> is what this blob begins with";
    let (status, body) = ask(Method::GET, &says(blob)).await.unwrap();
    assert_eq!((status, body.unwrap().as_str()), (StatusCode::OK, "<Error> is what this blob begins with"));
}

#[tokio::test]
async fn what_a_store_refuses_in_words_is_a_refusal_and_asked_again_if_it_passes() {
    let busy = "HTTP/1.1 503 Slow Down\r\nconnection: close\r\n\r\n<Error><Code>SlowDown</Code></Error>";
    let error = ask(Method::PUT, &says(busy)).await.unwrap_err();
    assert_eq!((refusal(&error).code.as_str(), error.kind()), ("SlowDown", HttpErrorKind::Request));

    let balancer = "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n<html>nobody there</html>";
    let error = ask(Method::PUT, &says(balancer)).await.unwrap_err();
    assert_eq!((refusal(&error).status, error.kind()), (StatusCode::BAD_GATEWAY, HttpErrorKind::Request));

    let gone = "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n<Error><Code>NoSuchUpload</Code></Error>";
    let error = ask(Method::PUT, &says(gone)).await.unwrap_err();
    assert_eq!((refusal(&error).code.as_str(), error.kind()), ("NoSuchUpload", HttpErrorKind::Decode));

    // `object_store` knows these better.
    let there = "HTTP/1.1 412 Precondition Failed\r\nconnection: close\r\n\r\n<Error><Code>PreconditionFailed</Code></Error>";
    assert_eq!(ask(Method::PUT, &says(there)).await.unwrap().0, StatusCode::PRECONDITION_FAILED);
    let plain = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(Method::HEAD, &says(plain)).await.unwrap().0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_404_without_a_word_is_not_the_store_s() {
    let proxy = "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n<html>default backend</html>";
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        let error = ask(method, &says(proxy)).await.unwrap_err();
        assert_eq!((refusal(&error).code.as_str(), error.kind()), ("", HttpErrorKind::Request));
    }
}

#[tokio::test]
async fn an_answer_that_stops_short_is_an_error() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let (_, body) = ask(Method::GET, &says(short)).await.unwrap();
    assert!(body.is_err());
    let nothing = "";
    assert_eq!(ask(Method::GET, &says(nothing)).await.unwrap_err().kind(), HttpErrorKind::Request);
}
