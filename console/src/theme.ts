import { defaultDarkTheme, defaultLightTheme, type RaThemeOptions } from 'react-admin';

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

const shared: Partial<RaThemeOptions> = {
  typography: {
    fontFamily: FONT,
    h5: { fontWeight: 600 },
    h6: { fontWeight: 600 },
    button: { textTransform: 'none', fontWeight: 600 },
  },
  shape: { borderRadius: 8 },
  sidebar: { width: 228, closedWidth: 56 },
};

const components = (outline: string): RaThemeOptions['components'] => ({
  MuiCssBaseline: {
    styleOverrides: {
      ':focus-visible': { outline: `2px solid ${outline}`, outlineOffset: 2 },
    },
  },
  MuiPaper: { styleOverrides: { root: { backgroundImage: 'none' } } },
  MuiTextField: { defaultProps: { variant: 'outlined', size: 'small' } },
  MuiFormControl: { defaultProps: { variant: 'outlined', size: 'small' } },
  // On a phone, the toolbar has the background of the page, not white.
  RaListToolbar: { styleOverrides: { root: { '@media (max-width:899.95px)': { backgroundColor: 'transparent' } } } },
  RaTopToolbar: { styleOverrides: { root: { '@media (max-width:899.95px)': { backgroundColor: 'transparent' } } } },
  RaFilterForm: { styleOverrides: { root: { '@media (max-width:899.95px)': { backgroundColor: 'transparent' } } } },
  // Half transparent text is hard to read.
  RaSimpleList: { styleOverrides: { root: { '& .RaSimpleList-tertiary': { opacity: 1 } } } },
  // On a phone, a dialog needs no margin around it.
  MuiDialog: {
    styleOverrides: {
      paper: {
        '@media (max-width:599.95px)': {
          margin: 12,
          width: 'calc(100% - 24px)',
          maxWidth: 'calc(100% - 24px)',
          maxHeight: 'calc(100% - 24px)',
        },
      },
    },
  },
  MuiDialogActions: { styleOverrides: { root: { padding: '8px 24px 20px' } } },
  MuiButton: { defaultProps: { disableElevation: true } },
  // Material UI 9 expects the label of a checkbox on its input, but react-admin still sets it on the root.
  MuiCheckbox: {
    defaultProps: {
      slotProps: {
        root: { 'aria-label': undefined },
        input: ({ 'aria-label': name }: { 'aria-label'?: string }) => ({ 'aria-label': name }),
      },
    },
  },
});

export const lightTheme: RaThemeOptions = {
  ...defaultLightTheme,
  ...shared,
  palette: {
    mode: 'light',
    primary: { main: '#1f4fa8' },
    secondary: { main: '#1f4fa8' },
    background: { default: '#f5f6f8', paper: '#ffffff' },
    text: { primary: '#16202e', secondary: '#4d5a6b' },
    success: { main: '#1b6e3c' },
    warning: { main: '#8a5200' },
    error: { main: '#b3261e' },
    info: { main: '#0b5394' },
  },
  components: { ...defaultLightTheme.components, ...components('#1f4fa8') },
};

export const darkTheme: RaThemeOptions = {
  ...defaultDarkTheme,
  ...shared,
  palette: {
    mode: 'dark',
    primary: { main: '#9dc0ff' },
    secondary: { main: '#9dc0ff' },
    background: { default: '#10151c', paper: '#18202a' },
    text: { primary: '#e8edf4', secondary: '#aab6c5' },
    success: { main: '#7fd6a0' },
    warning: { main: '#f3bd6a' },
    error: { main: '#ff9d94' },
  },
  components: { ...defaultDarkTheme.components, ...components('#9dc0ff') },
};
