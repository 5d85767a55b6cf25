// Node `ws`: a set of members for each room and a loop over it, the way its documentation broadcasts.
"use strict";
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });

server.on("listening", () => console.log(`ready at http://127.0.0.1:${server.address().port}`));
server.on("connection", (socket, request) => {
  const name = request.url;
  let members = rooms.get(name);
  if (!members) rooms.set(name, (members = new Set()));
  members.add(socket);
  socket.on("message", (data) => {
    for (const member of members) member.send(data, { binary: false });
  });
  socket.on("close", () => members.delete(socket));
  socket.on("error", () => members.delete(socket));
});
