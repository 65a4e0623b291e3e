// The server answers `/pages/preact.js` with the module of the package.
export { Component, Fragment, createRef, h, render, type ComponentChildren } from 'preact';
