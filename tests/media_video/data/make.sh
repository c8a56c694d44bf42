#!/usr/bin/env bash
# How the clips of this folder were made (ffmpeg 5.1, Debian 12): tests need them, not the program.   usage: make.sh FOLDER
# Every frame shows its own number: bit b of it is a bright (1) or a dark (0) bar of 16 pixels, the lowest bit at the left.
set -euo pipefail
cd "$1"
bars="geq=lum='if(mod(floor(N/pow(2,floor(X/16))),2),210,40)':cb=128:cr=128"
make() {  # FRAMES SIZE RATE FILE OPTIONS...
  local frames=$1 size=$2 rate=$3 file=$4
  shift 4
  ffmpeg -v error -y -f lavfi -i "color=black:size=$size:rate=$rate" -frames:v "$frames" -bitexact "$@" "$file"
}
x264() { echo "-vf format=yuv420p,$bars -c:v libx264 -crf 30 -sc_threshold 0 -threads 1"; }
make 120 128x48 25 bframes.mp4 $(x264) -g 30 -bf 3
vary="format=yuv420p,$bars,settb=1/1000,setpts='40*N+16*mod(N,3)+120*floor(N/7)'"
make 60 128x48 25 variable.mkv -vf "$vary" -fps_mode passthrough -enc_time_base 1:1000 -c:v libx264 -crf 30 -sc_threshold 0 -threads 1 -g 12 -bf 2
make 60 128x48 25 repeated.mkv -vf "$vary" -fps_mode passthrough -c:v libx264 -crf 30 -sc_threshold 0 -threads 1 -g 12 -bf 2  # times rounded
make 40 128x48 25 ten_bit.mkv -vf "format=yuv420p,$bars,format=yuv420p10le" -c:v libx265 -crf 30 \
  -x265-params log-level=none:pools=none:frame-threads=1:keyint=12:min-keyint=12:bframes=4:open-gop=1:info=0
make 40 128x48 25 refresh.mp4 $(x264) -g 10 -bf 0 -x264-params intra-refresh=1
make 40 128x48 25 program_stream.mpg -vf "format=yuv420p,$bars" -c:v mpeg2video -g 9 -bf 2 -q:v 6
make 40 128x48 25 transport_stream.ts $(x264) -g 10 -bf 2
make 40 128x48 25 raw.h264 $(x264) -g 10 -bf 2
make 40 128x48 25 old.avi -vf "format=yuv420p,$bars" -c:v mpeg4 -g 10 -bf 2 -q:v 6
for pass in 1 2; do  # frames that are never shown stand in packets of their own
  make 40 128x48 25 hidden.webm -vf "format=yuv420p,$bars" -c:v libvpx -b:v 60k -g 40 -auto-alt-ref 1 -lag-in-frames 25 \
    -threads 1 -pass "$pass" -passlogfile hidden
done
rm hidden-0.log
make 20 132x48 25 odd.webm -vf "format=yuv444p,scale=131:47,$bars,format=yuv420p" -c:v libvpx-vp9 -crf 40 -b:v 0 -g 8 -threads 1
make 1 128x48 25 one.mp4 $(x264)
make 12 128x48 25 stills.mkv -vf "format=yuvj420p,$bars" -c:v mjpeg -q:v 8
ffmpeg -v error -y -f lavfi -i sine=440:duration=0.2 -c:a pcm_s16le -ar 8000 -bitexact sound.wav
ffmpeg -v error -y -ss 1.52 -i bframes.mp4 -c copy -bitexact edited.mp4
ffmpeg -v error -y -i bframes.mp4 -c copy -bitexact -movflags +faststart front.mp4  # the header before the frames
ffmpeg -v error -y -i bframes.mp4 -c copy -bitexact bframes.mkv
python3 - <<'PY'
import pathlib, struct

def patched(source, target, change):
    data = bytearray(pathlib.Path(source).read_bytes())
    change(data)
    pathlib.Path(target).write_bytes(data)

def matrix(*abcd):
    def change(data):
        at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix stands 40 bytes into the box
        a, b, c, d = (v * 65536 for v in abcd)
        data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return change

patched("one.mp4", "turned_90.mp4", matrix(0, 1, -1, 0))
patched("one.mp4", "turned_180.mp4", matrix(-1, 0, 0, -1))
patched("one.mp4", "turned_270.mp4", matrix(0, -1, 1, 0))
patched("one.mp4", "mirrored.mp4", matrix(-1, 0, 0, 1))

def no_samples(data):  # the sample tables say that there is nothing
    for box, at in (b"stsz", 12), (b"stts", 8), (b"stsc", 8), (b"stco", 8), (b"stss", 8), (b"ctts", 8):
        if box in data:
            first = data.index(box) + at
            data[first : first + 4] = bytes(4)

patched("one.mp4", "empty.mp4", no_samples)
PY
