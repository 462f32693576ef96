// Tells the page of the console that opened this window. The message says nothing: the console asks the API who is
// signed in.
new BroadcastChannel('latchkey:signed-in').postMessage('done');
close();
