// Jest would compile a .ts file to CommonJS here; from an .mjs file Node loads it as it is.
export { default } from './global-setup.ts';
