import { csvLines } from './csv.ts';

it('quotes only the cells that need it', () => {
  const rows = [
    ['a', '', ' b ', "'c'", '=d', 'ä;e'],
    ['a,b', 'a"b', 'a\nb', 'a\rb', 'a\r\nb', '"'],
  ];
  expect(csvLines(rows)).toBe(`a,, b ,'c',=d,ä;e\r\n"a,b","a""b","a\nb","a\rb","a\r\nb",""""\r\n`);
  expect(csvLines([['']])).toBe('\r\n');
  expect(csvLines([])).toBe('');
});
