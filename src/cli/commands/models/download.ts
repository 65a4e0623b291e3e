import type { Home, Settings } from '../../../config.js';
import { DarkbloomError } from '../../../errors.js';
import { inWords } from '../../../util/byte-words.js';
import type { HostedBuild } from '../../../models/catalog.js';
import { downloadBuild } from '../../../models/download.js';
import { progressLine } from '../../progress-line.js';
import { duration } from '../../status-view.js';
import { listenForStop } from '../../stopping.js';
import { printDone } from '../../style.js';
import { here, hostedBuild, RESTART } from './here.js';

export async function download(name: string): Promise<void> {
  const { home, settings, models } = here();
  const build = hostedBuild(name, models);
  await fetchModel(build, home, settings);
  printDone(`${build.id} is here, its hash as the catalogue says. ${RESTART}`);
}

/** Downloads with progress on stderr, until it is here or Ctrl-C.
 *  @throws DarkbloomError as `downloadBuild`, or `cancelled`. */
export async function fetchModel(build: HostedBuild, home: Home, settings: Settings): Promise<void> {
  using stop = listenForStop();
  const stopped = new AbortController();
  void stop.asked.then(() =>
    stopped.abort(new DarkbloomError('cancelled', 'Stopped. The same command goes on from here.')),
  );
  const line = progressLine(build.id);
  try {
    await downloadBuild(build, {
      homeFolder: home.folder,
      signal: stopped.signal,
      endpoints: [settings.models.download_from],
      onProgress: ({ doneBytes, totalBytes, bytesPerSecond, secondsLeft }) => {
        const rate = bytesPerSecond === 0 ? '' : `, ${inWords(bytesPerSecond)}/s`;
        const left = secondsLeft === undefined ? '' : `, ${duration(secondsLeft * 1_000)} left`;
        line.show(doneBytes / totalBytes, `${inWords(doneBytes)} of ${inWords(totalBytes)}${rate}${left}`);
      },
    });
  } finally {
    line.end();
  }
}
