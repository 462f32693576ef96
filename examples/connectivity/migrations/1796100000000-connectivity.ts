import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "property" (
    "id" uuid NOT NULL,
    "name" text NOT NULL,
    "images" text array NOT NULL DEFAULT '{}',
    CONSTRAINT "pk_property" PRIMARY KEY ("id")
  )`,
  `CREATE TABLE "room" (
    "id" uuid NOT NULL,
    "property_id" uuid NOT NULL,
    "name" text NOT NULL,
    "quantity" integer NOT NULL,
    "max_guests" integer NOT NULL,
    "max_adults" integer NOT NULL,
    "max_children" integer NOT NULL,
    "images" text array NOT NULL DEFAULT '{}',
    "pushed_by" uuid,
    CONSTRAINT "ck_room_capacity" CHECK (
      max_guests <= max_adults + max_children AND max_adults <= max_guests AND max_children <= max_guests
    ),
    CONSTRAINT "pk_room" PRIMARY KEY ("id"),
    CONSTRAINT "fk_room_property" FOREIGN KEY ("property_id") REFERENCES "property" ("id")
  )`,
  `CREATE INDEX "ix_room_property" ON "room" ("property_id")`,
  `CREATE TABLE "rate_plan" (
    "id" uuid NOT NULL,
    "room_id" uuid NOT NULL,
    "name" text NOT NULL,
    CONSTRAINT "pk_rate_plan" PRIMARY KEY ("id"),
    CONSTRAINT "fk_rate_plan_room" FOREIGN KEY ("room_id") REFERENCES "room" ("id")
  )`,
  `CREATE INDEX "ix_rate_plan_room" ON "rate_plan" ("room_id")`,
  `CREATE TABLE "calendar_day" (
    "room_id" uuid NOT NULL,
    "date" date NOT NULL,
    "inventory" integer,
    "blackout" boolean,
    "pushed_by" uuid NOT NULL,
    "pushed_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_calendar_day" PRIMARY KEY ("room_id", "date"),
    CONSTRAINT "fk_calendar_day_room" FOREIGN KEY ("room_id") REFERENCES "room" ("id")
  )`,
  `CREATE TABLE "rate_plan_day" (
    "rate_plan_id" uuid NOT NULL,
    "date" date NOT NULL,
    "min_stay" integer,
    "max_stay" integer,
    "pushed_by" uuid NOT NULL,
    "pushed_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_rate_plan_day" PRIMARY KEY ("rate_plan_id", "date"),
    CONSTRAINT "fk_rate_plan_day_rate_plan" FOREIGN KEY ("rate_plan_id") REFERENCES "rate_plan" ("id")
  )`,
];

const DOWN = ['rate_plan_day', 'calendar_day', 'rate_plan', 'room', 'property'].map((table) => `DROP TABLE "${table}"`);

export class Connectivity1796100000000 implements MigrationInterface {
  name = 'Connectivity1796100000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
