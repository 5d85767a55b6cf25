// Socket.IO 4 rooms: WebSocket transport only, so that no client pays for a polling start.
"use strict";
const http = require("node:http");
const { Server } = require("socket.io");

const listener = http.createServer();
const io = new Server(listener, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  const room = socket.handshake.query.room;
  socket.join(room);
  socket.on("m", (event) => io.to(room).emit("m", event));
});
listener.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () =>
  console.log(`ready at http://127.0.0.1:${listener.address().port}`),
);
