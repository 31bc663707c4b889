"""Two requests a minute are allowed; the third is refused, and the SDK waits by itself."""

import os
import time

from openai import OpenAI

client = OpenAI(
    base_url=f"{os.environ['GATEWAY_URL']}/v1",
    api_key="sk-python",
    default_headers={"X-User-ID": os.environ["GATEWAY_USER"]},
    default_query={"script": os.environ["SCRIPT"]},
)


def ask():
    messages = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model="m", messages=messages)


ask()
ask()
# The SDK waits for no longer than a minute.
time.sleep(2)
began = time.monotonic()
assert ask().choices[0].message.content == "at last"
seconds = time.monotonic() - began
assert 50 < seconds < 62, seconds
print("ok waited")
