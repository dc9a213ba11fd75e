# Prints the names of all nftables tables of this network namespace.
import socket, struct
dump = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
dump.send(struct.pack("=IHHIIBBH", 20, (10 << 8) | 1, 0x301, 1, 0, 0, 0, 0))
done = False
while not done:
    data = dump.recv(65536)
    while len(data) >= 16:
        size, kind = struct.unpack("=IH", data[:6])
        done = done or kind in (2, 3)
        at = 20
        while kind == (10 << 8) and at + 4 <= size:
            length, attribute = struct.unpack("=HH", data[at:at + 4])
            if attribute == 1:
                print("table", data[at + 4:at + length].rstrip(b"\0").decode())
            at += (length + 3) & ~3
        data = data[(size + 3) & ~3:]
