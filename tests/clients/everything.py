"""What a client does with the official SDK, against the echo model behind the gateway."""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import openai
from openai import OpenAI

GATEWAY_URL = os.environ["GATEWAY_URL"]
GATEWAY_KEY = os.environ["GATEWAY_KEY"]

client = OpenAI(
    base_url=f"{GATEWAY_URL}/v1",
    api_key="sk-python",
    default_headers={"X-Gateway-Key": GATEWAY_KEY},
    max_retries=0,
)


def ask(content, **more):
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **more}


def streamed(content, **more):
    text, last = "", None
    for chunk in client.chat.completions.create(**ask(content, stream=True, **more)):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        last = chunk
    return text, last


def models():
    assert [model.id for model in client.models.list()] == ["echo"]
    assert client.models.retrieve("echo").id == "echo"


def chat():
    completion = client.chat.completions.create(**ask("Hello from Python"))
    assert completion.choices[0].message.content == "Hello from Python"
    assert completion.usage.total_tokens == 10


def stream():
    text, last = streamed("one two three")
    assert text == "one two three", text
    assert len(last.choices) == 1, "no chunk that nobody asked for"
    _, last = streamed("one two", stream_options={"include_usage": True})
    assert last.usage.total_tokens == 4, last


def parallel_streams():
    texts = [f"stream {number} " + "word " * 10 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert [text for text, _ in pool.map(streamed, texts)] == texts


def responses():
    response = client.responses.create(model="echo", input="Hello again")
    assert response.output_text == "Hello again"
    assert response.status == "completed"


def responses_stream():
    with client.responses.stream(model="echo", input="a stream of events") as events:
        kinds = {event.type for event in events}
        final = events.get_final_response()
    assert {"response.created", "response.output_text.delta"} <= kinds, kinds
    assert final.output_text == "a stream of events"


def embeddings():
    data = client.embeddings.create(model="echo", input=["one", "two"]).data
    assert len(data) == 2 and len(data[0].embedding) == 64
    assert math.isclose(math.hypot(*data[0].embedding), 1, abs_tol=1e-5)


def user_in_the_base_url():
    named = client.with_options(base_url=f"{GATEWAY_URL}/u/ada/v1")
    assert len(named.models.list().data) == 1


def rejects(call, kind, status, code):
    try:
        call()
    except openai.APIStatusError as error:
        assert isinstance(error, kind), error
        assert (error.status_code, error.code) == (status, code), (error.status_code, error.code)
        assert error.request_id or status == 400, "an id to ask the operator about"
    else:
        raise AssertionError(f"no {code}")


def typed_errors():
    def with_headers(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.with_options(default_headers={"X-Gateway-Key": GATEWAY_KEY, **named})

    wrong = with_headers(X_Gateway_Key=GATEWAY_KEY[:-4] + "AAAA")
    rejects(wrong.models.list, openai.AuthenticationError, 401, "invalid_key")
    spent = with_headers(X_Gateway_Key=os.environ["SPENT_KEY"])
    chat_with = spent.chat.completions.create
    rejects(lambda: chat_with(**ask("x")), openai.RateLimitError, 429, "rate_limit_exceeded")
    project = with_headers(X_Project_ID="a b")
    rejects(project.models.list, openai.BadRequestError, 400, "invalid_project_id")
    rejects(lambda: client.models.retrieve("none"), openai.NotFoundError, 404, "model_not_found")


def request_id():
    completion = client.chat.completions.create(**ask("x"))
    assert len(completion._request_id or "") >= 16, completion._request_id


def broken_stream():
    scripted = OpenAI(
        base_url=f"{os.environ['SCRIPTED_URL']}/v1",
        api_key="sk-python",
        default_headers={"X-User-ID": os.environ["SCRIPTED_USER"]},
        default_query={"script": os.environ["BROKEN_SCRIPT"]},
        max_retries=0,
    )
    text = ""
    try:
        for chunk in scripted.chat.completions.create(**ask("x", stream=True)):
            text += chunk.choices[0].delta.content
    except openai.APIError as error:
        assert error.code == "upstream_interrupted", error.code
    else:
        raise AssertionError("an end as if all were well")
    assert text == "Hel", text


for test in [
    models,
    chat,
    stream,
    parallel_streams,
    responses,
    responses_stream,
    embeddings,
    user_in_the_base_url,
    typed_errors,
    request_id,
    broken_stream,
]:
    test()
    print("ok", test.__name__.replace("_", " ").replace("base url", "base URL"), flush=True)
