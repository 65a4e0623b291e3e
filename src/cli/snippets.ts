/** Three ways to send the first request, ready to paste. */
export function snippets({ baseUrl, apiKey, model }: { baseUrl: string; apiKey: string; model: string }): string {
  return `Python, OpenAI SDK

from openai import OpenAI
client = OpenAI(base_url="${baseUrl}", api_key="${apiKey}")
response = client.chat.completions.create(model="${model}", messages=[{"role": "user", "content": "Hello, Darkbloom!"}], stream=True)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")

Shell

curl -X POST ${baseUrl}/chat/completions -H "Authorization: Bearer ${apiKey}" -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}], "stream": true}'

Python, Anthropic SDK

import anthropic
client = anthropic.Anthropic(base_url="${baseUrl}", api_key="${apiKey}")
response = client.messages.create(model="${model}", max_tokens=1024, messages=[{"role": "user", "content": "Hello!"}])
print(response.content[0].text)
`;
}
