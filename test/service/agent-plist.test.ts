import { expect, test } from 'vitest';
import {
  AGENT_LABEL,
  agentPlistPath,
  agentTemplate,
  EXIT_TIMEOUT_S,
  LAUNCHD_LOG_FILE,
  renderAgentPlist,
  startedByLaunchd,
} from '../../src/service/agent-plist.js';
import { readXmlPlist } from './xml-plist.js';

const VALUES = {
  launcher: '/Users/ada/.darkbloom-provider/bin/darkbloom-provider',
  nodeFolder: '/opt/homebrew/opt/node/bin',
  homeFolder: '/Users/ada/.darkbloom-provider',
  userHome: '/Users/ada',
  logFolder: '/Users/ada/Library/Logs/darkbloom-provider',
  sessions: 'screen',
} as const;

const render = (values: Partial<typeof VALUES> | { sessions: 'every' } = {}) =>
  readXmlPlist(renderAgentPlist(agentTemplate(), { ...VALUES, ...values }));

test('the property list has every key that the service needs, of the right type', () => {
  expect(render()).toEqual({
    Label: AGENT_LABEL,
    ProgramArguments: [VALUES.launcher, 'start', '--foreground'],
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 30,
    ProcessType: 'Interactive',
    ExitTimeOut: EXIT_TIMEOUT_S,
    WorkingDirectory: VALUES.homeFolder,
    EnvironmentVariables: {
      PATH: `${VALUES.nodeFolder}:/usr/bin:/bin:/usr/sbin:/sbin`,
      HOME: VALUES.userHome,
      LANG: 'en_US.UTF-8',
    },
    StandardOutPath: `${VALUES.logFolder}/${LAUNCHD_LOG_FILE}`,
    StandardErrorPath: `${VALUES.logFolder}/${LAUNCHD_LOG_FILE}`,
    HardResourceLimits: { Core: 0 },
    SoftResourceLimits: { Core: 0, NumberOfFiles: 4096 },
  });
});

test('outside a session on the screen it says that it runs there too', () => {
  expect(render({ sessions: 'every' })).toMatchObject({ LimitLoadToSessionType: ['Aqua', 'Background'] });
});

test.each([
  ['/Users/a & b'],
  ['/Users/<ada>'],
  [`/Users/"it's"`],
  ['/Users/größe 模型'],
  ['/Users/{{LAUNCHER}}'],
  ['/Users/$&$1'],
])('a home called %s stands in it unchanged', (userHome) => {
  expect(render({ userHome } as never)).toMatchObject({ EnvironmentVariables: { HOME: userHome } });
});

test('a path with a control character is refused', () => {
  const values = { ...VALUES, userHome: '/Users/a\nb' };
  expect(() => renderAgentPlist(agentTemplate(), values)).toThrow(expect.objectContaining({ code: 'not_supported' }));
});

test('a template that asks for something else is a mistake of ours', () => {
  expect(() => renderAgentPlist('<plist>{{OTHER}}</plist>', VALUES)).toThrow(/\{\{OTHER\}\}/u);
});

test('no hole and no empty line is left', () => {
  expect(renderAgentPlist(agentTemplate(), VALUES).split(/(?=<plist )/u)[1]).not.toMatch(/\{\{|\n\s*\n/u);
});

test('the label is one that a record of launchd can hold, and the name of the file', () => {
  expect(AGENT_LABEL).toMatch(/^[A-Za-z0-9._-]+$/u);
  expect(agentPlistPath('/Users/ada')).toBe(`/Users/ada/Library/LaunchAgents/${AGENT_LABEL}.plist`);
});

test.each([
  [AGENT_LABEL, true],
  ['0', false],
  [undefined, false],
])('with the service name %s launchd has started this process: %s', (name, expected) => {
  expect(startedByLaunchd(name === undefined ? {} : { XPC_SERVICE_NAME: name })).toBe(expected);
});

test.each([
  ['<plist version="1.0"><dict></dict></plist>'],
  [renderAgentPlist(agentTemplate(), VALUES).replace('</dict>', '')],
  [renderAgentPlist(agentTemplate(), VALUES).replace('<string>Interactive', '<string>A & B')],
])('the reader of these tests is strict', (xml) => {
  expect(() => readXmlPlist(xml)).toThrow(SyntaxError);
});
