import type { Machine, Model } from './api.js';
import { h } from './preact.js';
import { Badge, Dim } from './live.js';

/** Every name that a request may use, and whether a machine of one's own would answer it. */
export function ModelList({
  models,
  machines,
}: {
  models: readonly Model[] | undefined;
  machines: readonly Machine[];
}) {
  return (
    <section aria-labelledby="models">
      <h2 id="models">Models</h2>
      {models === undefined ? (
        <p class="dim">Asking …</p>
      ) : models.length === 0 ? (
        <p class="empty">
          <strong>No model yet.</strong> <code>darkbloom-provider models catalog</code> lists what can be downloaded.
        </p>
      ) : (
        <ul class="plain">
          {[...models]
            .sort((a, b) => owners(b, machines) - owners(a, machines))
            .map((model) => (
              <ModelItem key={model.id} model={model} machines={owners(model, machines)} />
            ))}
        </ul>
      )}
    </section>
  );
}

function ModelItem({ model, machines }: { model: Model; machines: number }) {
  const { context_length: context, metadata } = model;
  const facts = [
    ...(metadata?.quantization ? [metadata.quantization] : []),
    ...(context === undefined ? [] : [`${context.toLocaleString('en')} tokens of context`]),
  ];
  return (
    <li class="item">
      <div class="row">
        <span class="name">{model.id}</span>
        {machines > 0 ? (
          <Badge word={machines === 1 ? 'On 1 machine' : `On ${machines} machines`} tone="good" />
        ) : (
          <Badge word={(metadata?.routable_providers ?? 0) > 0 ? 'On others’ machines' : 'On no machine'} tone="calm" />
        )}
      </div>
      <Dim text={facts.join(' · ')} />
    </li>
  );
}

function owners({ id }: Model, machines: readonly Machine[]): number {
  return machines.filter(({ models }) => models.some((model) => model.id === id || model.build === id)).length;
}
