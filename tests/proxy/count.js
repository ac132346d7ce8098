// An upstream that says which requests it saw, one line for each, and reads every body to its end.
const server = require('http').createServer((request, response) => {
    let length = 0;
    request.on('data', piece => { length += piece.length; });
    request.on('end', () => {
        console.log('saw', request.method, request.url, length);
        response.end('seen');
    });
});
server.on('clientError', (error, socket) => { console.log('odd', error.code); socket.destroy(); });
server.listen(Number(process.argv[2]), '0.0.0.0', () => console.log('listening'));
