interface SnippetFacts {
  baseUrl: string;
  apiKey: string;
  model: string;
}

/** Three ways to send the first request, ready to paste. */
export function snippetList({ baseUrl, apiKey, model }: SnippetFacts): { title: string; code: string }[] {
  return [
    {
      title: 'Python, OpenAI SDK',
      code: `from openai import OpenAI
client = OpenAI(base_url="${baseUrl}", api_key="${apiKey}")
response = client.chat.completions.create(model="${model}", messages=[{"role": "user", "content": "Hello, Darkbloom!"}], stream=True)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")`,
    },
    {
      title: 'Shell',
      code: `curl -X POST ${baseUrl}/chat/completions -H "Authorization: Bearer ${apiKey}" -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}], "stream": true}'`,
    },
    {
      title: 'Python, Anthropic SDK',
      code: `import anthropic
client = anthropic.Anthropic(base_url="${baseUrl}", api_key="${apiKey}")
response = client.messages.create(model="${model}", max_tokens=1024, messages=[{"role": "user", "content": "Hello!"}])
print(response.content[0].text)`,
    },
  ];
}

/** The same, for a terminal. */
export function snippets(facts: SnippetFacts): string {
  return snippetList(facts)
    .map(({ title, code }) => `${title}\n\n${code}\n`)
    .join('\n');
}
