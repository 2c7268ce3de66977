// Loaded before the servers: they listen on the loopback interface only, for which emulate has no
// option, and they end with the test that started them, however that ends: its pipe closes.
const net = require("node:net");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  const port = typeof given[0] === "object" && given[0] !== null ? given[0].port : given[0];
  const callbacks = given.filter((one) => typeof one === "function");
  return listen.call(this, port, "127.0.0.1", ...callbacks);
};

process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
