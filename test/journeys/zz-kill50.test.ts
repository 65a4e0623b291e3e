import { expect, test } from 'vitest';
import { killAndResume } from '../support/kill-points.js';
test('kill', async () => {
  const stories = await killAndResume(11, 60);
  for (const s of stories.sort((a,b)=>a.point-b.point)) console.log(s.point.toFixed(3), s.afterKill, s.afterResume, (s.resumedBytes/s.totalBytes).toFixed(3));
  expect(stories.every((s) => s.afterResume === 'right' && s.afterKill !== 'wrong')).toBe(true);
  for (const story of stories) {
    const sent = Math.min(1, story.point) * story.totalBytes;
    expect(story.resumedBytes).toBeLessThanOrEqual(story.totalBytes - sent + 5*65536);
  }
}, 300000);
