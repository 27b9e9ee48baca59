mod calls;
mod connection;
mod frames;
mod late;
mod loss;
mod peers;
mod tape;
