export default function Overview(): null {
  return null;
}
