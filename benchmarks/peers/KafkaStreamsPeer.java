// The same windows on Kafka Streams, one thread: BOOTSTRAP SOURCE RESULTS NAME GUARANTEE.
// Aggregates are kept in a window store with its changelog, and each window is sent on once, when it closes.

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Properties;
import java.util.function.Function;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;

public final class KafkaStreamsPeer {
  static final ObjectMapper JSON = new ObjectMapper();

  @JsonIgnoreProperties(ignoreUnknown = true)
  public static final class Reading {
    public String sensor_id;
    public double value;
    public long time;
  }

  static final class Sums {
    long count;
    double sum;
    double low = Double.POSITIVE_INFINITY;
    double high = Double.NEGATIVE_INFINITY;

    Sums add(double value) {
      count++;
      sum += value;
      low = Math.min(low, value);
      high = Math.max(high, value);
      return this;
    }
  }

  public static final class EventTime implements TimestampExtractor {
    @Override
    public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
      return ((Reading) record.value()).time;
    }
  }

  static <T> Serde<T> serde(Function<T, byte[]> to, Function<byte[], T> from) {
    Serializer<T> serializer = (topic, value) -> value == null ? null : to.apply(value);
    Deserializer<T> deserializer = (topic, bytes) -> bytes == null ? null : from.apply(bytes);
    return Serdes.serdeFrom(serializer, deserializer);
  }

  static Reading reading(byte[] bytes) {
    try {
      return JSON.readValue(bytes, Reading.class);
    } catch (Exception error) {
      throw new IllegalArgumentException(error);
    }
  }

  static byte[] pack(Sums sums) {
    ByteBuffer buffer = ByteBuffer.allocate(32);
    return buffer.putLong(sums.count).putDouble(sums.sum).putDouble(sums.low).putDouble(sums.high).array();
  }

  static Sums unpack(byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    Sums sums = new Sums();
    sums.count = buffer.getLong();
    sums.sum = buffer.getDouble();
    sums.low = buffer.getDouble();
    sums.high = buffer.getDouble();
    return sums;
  }

  static String json(String sensor, long start, Sums s) {
    return "{\"sensor\":\"" + sensor + "\",\"start\":" + start + ",\"count\":" + s.count
        + ",\"mean\":" + s.sum / s.count + ",\"min\":" + s.low + ",\"max\":" + s.high + "}";
  }

  public static void main(String[] args) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", args[0]);
    settings.put("application.id", args[3]);
    settings.put("processing.guarantee", args[4]);
    settings.put("num.stream.threads", 1);
    settings.put("state.dir", System.getProperty("state.dir"));
    settings.put("auto.offset.reset", "earliest");
    settings.put("default.timestamp.extractor", EventTime.class.getName());
    settings.put("statestore.cache.max.bytes", 256L * 1024 * 1024);
    settings.put("max.poll.records", 10_000);
    settings.put("replication.factor", 1);
    if (args[4].equals("at_least_once")) {
      settings.put("commit.interval.ms", 1_000);
    }
    Serde<Reading> readings = serde(value -> new byte[0], KafkaStreamsPeer::reading);
    Serde<Sums> sums = serde(KafkaStreamsPeer::pack, KafkaStreamsPeer::unpack);
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(args[1], Consumed.with(Serdes.String(), readings))
        .groupByKey()
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(2)))
        .aggregate(Sums::new, (key, event, total) -> total.add(event.value), Materialized.with(Serdes.String(), sums))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .map((window, total) -> KeyValue.pair(window.key(), json(window.key(), window.window().start(), total)))
        .to(args[2], Produced.with(Serdes.String(), Serdes.String()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(3))));
    streams.start();
  }
}
